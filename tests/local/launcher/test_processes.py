"""A child that will not stay up, and one that will not end."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from local.processes import Child, ChildFailed
from shared.background import background_task
from tests.support.until import until


async def at_once() -> bool:
    return True


async def never() -> bool:
    return False


def child(code: str, **changes: object) -> Child:
    fixed = {
        "name": "the child",
        "command": [sys.executable, "-c", code],
        "environment": os.environ,
        "is_ready": at_once,
    }
    return Child(**(fixed | {"back_off": (0.01, 0.01)} | changes))  # type: ignore[arg-type]  # as each test needs


async def test_child_that_keeps_ending_is_not_restarted(capsys: pytest.CaptureFixture[str]) -> None:
    starts = []
    one = child("raise SystemExit(3)", on_start=lambda: starts.append(1))
    await one.start()

    with pytest.raises(ChildFailed, match=r"^the child exited with status 3$"):
        await one.keep_running()

    assert len(starts) == 3
    assert capsys.readouterr().out.count("the child exited with status 3; restarting") == 2


async def test_invalid_settings_are_not_retried() -> None:
    one = child("raise SystemExit(2)")
    await one.start()

    with pytest.raises(ChildFailed):
        await one.keep_running()


async def test_invalid_settings_wait_for_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    valid = tmp_path / "valid"
    code = f"import pathlib, sys, time; time.sleep(600) if pathlib.Path({str(valid)!r}).exists() else sys.exit(2)"
    starts: list[int] = []
    one = child(code, on_start=lambda: starts.append(1), back_off=())
    await one.start()

    async with background_task(one.keep_running(wait_for_restart=True)):
        await until(lambda: one.pid is None)
        await one.restart()
        await until(lambda: len(starts) == 2 and one.pid is None)
        valid.touch()
        await one.restart()
        await until(lambda: len(starts) == 3)
        assert one.pid
        await one.stop()

    assert "the child exited with status 2; waiting for a change" in capsys.readouterr().out


async def test_child_that_ends_before_serving_is_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    one = child("print('its last words'); raise SystemExit(3)", is_ready=never, log=log)

    with pytest.raises(ChildFailed, match=r"^the child exited with status 3, see .*child\.log$"):
        await one.start()

    assert log.read_text() == "its last words\n"


async def test_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    one = child(code, stop_seconds=0.5, log=log)
    await one.start()
    assert one.pid
    process = psutil.Process(one.pid)
    await until(lambda: "deaf" in log.read_text())

    await one.stop()

    assert not process.is_running()
    assert one.pid is None


async def test_signal_of_a_killed_child_is_named() -> None:
    one = child("import time; time.sleep(600)", back_off=())
    await one.start()
    assert one.pid
    os.kill(one.pid, signal.SIGKILL)

    with pytest.raises(ChildFailed, match="was killed by SIGKILL"):
        await one.keep_running()


async def test_restarted_child_runs_again_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    pids: list[int | None] = []
    one: Child = child("import time; time.sleep(600)", on_start=lambda: pids.append(one.pid), back_off=())
    await one.start()

    async with background_task(one.keep_running()):
        await one.restart()
        await until(lambda: len(pids) == 2)
        await one.restart()
        await until(lambda: len(pids) == 3)
        assert one.pid == pids[2]
        await one.stop()

    assert len(set(pids)) == 3
    assert "restarting in" not in capsys.readouterr().out
