"""A test that hangs fails with its name and the stacks of all threads, wherever it hangs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launched import ROOT

_CONFTEST = """
from tests.support import limits

pytest_plugins = ["tests.support.limits"]
limits.GRACE_SECONDS = {grace}
"""
_TESTS = """
import asyncio, threading, time
import pytest

def in_another_thread():
    time.sleep(60)

@pytest.fixture(autouse=True)
def another_thread():
    threading.Thread(target=in_another_thread, daemon=True).start()

@pytest.fixture
def never_torn_down():
    yield
    time.sleep(60)

def test_before():
    pass

"""


def run_tests(folder: Path, *arguments: str, hangs: str, grace: float) -> tuple[int, str]:
    (folder / "conftest.py").write_text(_CONFTEST.format(grace=grace))
    (folder / "test_it.py").write_text(_TESTS + f"@pytest.mark.timeout(1)\n{hangs}\n\ndef test_after():\n    pass\n")
    options = ["--rootdir", str(folder), "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", *arguments]
    plugins = [word for name in ("pytest_timeout", "pytest_asyncio.plugin", "xdist.plugin") for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *plugins, *options, str(folder)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take seconds to import
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["-n1", "--dist=worksteal"]], ids=["one process", "xdist"])
@pytest.mark.parametrize(
    "hangs",
    ["def test_it():\n    threading.Event().wait()", "async def test_it():\n    await asyncio.sleep(60)"],
    ids=["thread", "event loop"],
)
def test_hang_is_a_failure_with_all_stacks(tmp_path: Path, arguments: list[str], hangs: str) -> None:
    status, output = run_tests(tmp_path, *arguments, hangs=hangs, grace=60)

    assert status == 1
    assert "test_it.py::test_it took longer than 1 s" in output
    assert "in in_another_thread" in output
    assert 'test_it.py", line' in output  # also where only the event loop's own code is on the thread's stack
    assert "1 failed, 2 passed" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    "hangs",
    [
        "def test_it():\n    sum(range(10**11))",
        "def test_it():\n    try:\n        time.sleep(60)\n    except BaseException:\n        time.sleep(60)",
        "def test_it(never_torn_down):\n    raise AssertionError",
    ],
    ids=["C code that holds the GIL", "swallowed", "teardown of a failure"],
)
def test_uninterruptible_process_is_killed(tmp_path: Path, hangs: str) -> None:
    status, output = run_tests(tmp_path, "-n1", "--dist=worksteal", hangs=hangs, grace=0.5)

    assert status == 1
    assert "crashed while running" in output
    assert "test_it.py::test_it'" in output
    assert "in in_another_thread" in output
    assert "2 passed" in output  # the one before, and in a new process the one after
