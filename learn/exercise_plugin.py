"""A pytest plugin for the checks of the exercises: import the file under judgement, and write the verdicts."""

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest

from learn.exercise_limits import Limits
from learn.pytest_runner import explanation

_MAX_LINES = 12  # of a message
_ADDRESS = re.compile(r"^ *\+ .* at 0x[0-9a-f]+")  # where a value comes from: an address says nothing
_verdicts: list[dict[str, object]] = []
_limits = pytest.StashKey[Limits]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options with which `learn.exercises` starts pytest."""
    parser.addoption("--judged", default="solution.py", help="a file name beside check.py, or an absolute path")
    parser.addoption("--verdicts", help="the file to write the verdicts to, as JSON")
    parser.addoption("--stacks", help="the file for the stacks of a check that exceeds its limits")


def pytest_configure(config: pytest.Config) -> None:
    """Set the limits of each check."""
    if path := config.getoption("--stacks"):
        config.stash[_limits] = Limits(Path(str(path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a check within its limits."""
    limits = item.config.stash.get(_limits, None)
    with limits.applied() if limits else nullcontext():
        return (yield)


def _judged(item: pytest.Item) -> Path:
    return item.path.parent / str(item.config.getoption("--judged"))


@pytest.fixture
def exercise(request: pytest.FixtureRequest) -> Generator[ModuleType]:
    """Import the file under judgement, anew for each check."""
    spec = importlib.util.spec_from_file_location("exercise", _judged(request.node))
    if spec is None or spec.loader is None:
        pytest.fail(f"{_judged(request.node)} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and Pydantic look names up in the module of a class.
    sys.modules["exercise"] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules["exercise"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the verdict of a check: of its call, or of a setup that failed."""
    report = yield
    if report.when == "call" or report.failed:
        verdict: dict[str, object] = {
            "exercise": item.path.parent.name,
            "check": item.name,
            "passed": report.passed,
            "line": None,
            "statement": "",
            "message": "",
        }
        if call.excinfo:
            verdict["line"] = _last_line(call.excinfo, _judged(item))
            statements = [
                str(entry.statement) for entry in call.excinfo.traceback if Path(str(entry.path)) == item.path
            ]
            verdict["statement"] = _without_message(statements[-1]) if statements else ""
            lines = [line for line in explanation(call.excinfo.exconly().splitlines()) if not _ADDRESS.search(line)]
            verdict["message"] = "\n".join(lines[:_MAX_LINES])
        _verdicts.append(verdict)
    return report


def _without_message(statement: str) -> str:
    """Return a statement on one line; an assertion without its message, which is the error's text too."""
    line = " ".join(part.strip() for part in statement.splitlines())
    try:
        parsed = ast.parse(line).body[0]
    except (SyntaxError, IndexError):  # the head of a block
        return line
    if not isinstance(parsed, ast.Assert) or parsed.msg is None:
        return line
    return line.encode()[: parsed.msg.col_offset].decode().rstrip("( ").removesuffix(",")


def _last_line(error: pytest.ExceptionInfo[BaseException], path: Path) -> int | None:
    """Return the number of the innermost line of a file that an exception passed through."""
    if isinstance(error.value, SyntaxError) and error.value.filename == str(path):
        return error.value.lineno
    lines = [entry.lineno + 1 for entry in error.traceback if Path(str(entry.path)) == path]
    return lines[-1] if lines else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the verdicts."""
    path = session.config.getoption("--verdicts")
    if path:
        Path(str(path)).write_text(json.dumps(_verdicts), "utf-8")
