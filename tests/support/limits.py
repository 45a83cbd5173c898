"""A time limit for every test: a hang is a failure with a name and the stacks of all threads.

pytest-timeout reads the limit: `timeout` in pyproject.toml, or `@pytest.mark.timeout(seconds)`. Its own two methods
need a terminal, which pytest-xdist's workers do not have; therefore this module decides what happens at the limit:

1. A signal makes the test fail where the main thread is. Its fixtures are torn down, and the run goes on.
2. If that had no effect, because the main thread is stuck in C code or something swallowed the exception, a thread of
   `faulthandler` prints all stacks `GRACE_SECONDS` later and ends the process. It needs no GIL. pytest-xdist then names
   the test as the one that its worker crashed at, and goes on with a new worker.

`TEST_GRACE_SECONDS` shortens the second step: practice sets it, since a learner should not wait for an endless loop. It
also limits the processor time of a test with its fixtures: to wait for a database is no endless loop.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import tempfile
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

GRACE_SECONDS = float(os.environ.get("TEST_GRACE_SECONDS", "30"))
_HURRY = "TEST_GRACE_SECONDS" in os.environ
_PROCESSOR_SECONDS = 6.0  # of this process, for a test with its fixtures
_LIMIT = pytest.StashKey[float]()


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:  # noqa: ANN401  pytest-timeout has no types
    """Start both timers of a test. Returns True, so that pytest-timeout does nothing more."""
    seconds: float = settings.timeout
    if item.config.getvalue("usepdb"):
        return True

    def fail(_signal: int, _frame: FrameType | None) -> None:
        pytest.fail(f"{item.nodeid} took longer than {seconds:g} s. All stacks:\n\n{_stacks()}")

    signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    item.stash[_LIMIT] = GRACE_SECONDS if _HURRY else seconds + GRACE_SECONDS
    _exit_after(item, seconds + GRACE_SECONDS)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer() -> bool:
    """Stop both timers: the test has ended, has failed, or is being debugged."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Print all stacks and end the process if a test or its fixtures compute for too long, and somebody waits."""
    if not _HURRY:
        return (yield)

    def leave(_signal: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(item.config.stash[fault_handler_stderr_fd_key])
        os._exit(1)

    signal.signal(signal.SIGPROF, leave)
    signal.setitimer(signal.ITIMER_PROF, _PROCESSOR_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Limit also the teardown of a test that has failed: pytest stops the timers when it does."""
    if _LIMIT in item.stash:
        _exit_after(item, item.stash[_LIMIT])
    return (yield)


def _exit_after(item: pytest.Item, seconds: float) -> None:
    # pytest's own copy of the real stderr, which is there also while a test's output is captured.
    stderr = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(seconds, exit=True, file=stderr)


def _stacks() -> str:
    """Return the stacks of all threads, and of the tasks of this thread's event loop."""
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0, os.SEEK_END)
        with contextlib.suppress(RuntimeError):  # there is no loop
            for task in asyncio.all_tasks():
                print(file=file)
                task.print_stack(file=file)
        file.seek(0)
        return file.read()
