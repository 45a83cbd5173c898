"""The control of the launcher's processes."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from local.control import Control
from local.processes import Child
from shared.background import background_task
from shared.errors import NotFound, ServiceError
from shared.xray.control import Action, act, actions
from tests.support.until import until

_SLEEP = "import signal; signal.pause()"


async def _ready() -> bool:
    return True


@asynccontextmanager
async def started(action: Action) -> AsyncIterator[Child]:
    child = Child("a child", [sys.executable, "-c", _SLEEP], dict(os.environ), _ready, action=action)
    await child.start()
    try:
        async with background_task(child.keep_running()):
            yield child
    finally:
        await child.stop()


def status(child: Child) -> str:
    assert child.pid
    return psutil.Process(child.pid).status()


@pytest.mark.parametrize("action", ["freeze_database", "slow_model"])
async def test_frozen_process_runs_again_at_the_end(action: Action) -> None:
    control = Control()
    async with started(action) as child:
        async with control.serving([child]):
            path = str(control.socket)
            assert await actions(path) == {action: False}
            assert await act(path, action, active=True) == {action: True}
            await until(lambda: status(child) == psutil.STATUS_STOPPED)
        assert status(child) != psutil.STATUS_STOPPED
        assert not control.socket.parent.exists()


async def test_killed_worker_is_started_again() -> None:
    control = Control()
    async with started("kill_worker") as child, control.serving([child]):
        first = child.pid
        assert await act(str(control.socket), "kill_worker", active=True) == {"kill_worker": False}
        await until(lambda: child.pid not in (None, first))


async def test_only_processes_of_the_launcher_are_controlled() -> None:
    control = Control()
    async with started("kill_worker") as child, control.serving([child]):
        with pytest.raises(NotFound):
            await act(str(control.socket), "freeze_database", active=True)
    with pytest.raises(ServiceError) as refused:
        await actions(str(control.socket))
    assert refused.value.status == 503
    assert await actions("") == {}
