"""The exit status of a job of the launcher."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from local import launcher
from local.processes import ChildFailed


async def finishes(_: object) -> int:
    return 3


async def is_interrupted(_: object) -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)
    return 0


async def loses_its_service(_: object) -> int:
    raise ChildFailed("the service has ended")


@pytest.mark.parametrize(("job", "status"), [(finishes, 3), (is_interrupted, 130), (loses_its_service, 2)])
def test_job_that_did_not_finish_has_a_status_of_its_own(
    job: Callable[[object], Coroutine[Any, Any, int]], status: int
) -> None:
    program = SimpleNamespace(package="local")
    stage: Any = SimpleNamespace(
        program=program, services=[], servers=[], control=None, app=SimpleNamespace(name="eval")
    )

    assert asyncio.run(launcher._run(stage, launcher._Task((), job=job))) == status
