"""Run tests with pytest, and read the outcome of each."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_MAX_MESSAGE_LENGTH = 200
_LIMIT_SECONDS = 60.0  # of a run whose tests have limits, with the imports and the start of a database
_TEARDOWN_SECONDS = "2"  # of a test that has reached its limit: tests/support/limits.py then ends the process
_GRACE_SECONDS = 10
# Plugins that only cost time here.
_UNUSED = ("hypothesispytest", "langsmith_plugin", "schemathesis", "xdist", "pytest_cov")
_PREFIXES = {"failure": "", "error": "", "skipped": "skipped: "}


@dataclass(frozen=True)
class Verdict:
    """The outcome of a test, over all of its parameters.

    Attributes:
        message: The first failure, on one line.
        output: The traceback of that failure, and the test's output.
    """

    passed: bool
    message: str = ""
    output: str = ""


def run_tests(
    folder: Path,
    tests: Iterable[str],
    *,
    test_seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Mapping[str, Verdict]:
    """Run tests in one pytest process.

    Args:
        folder: The project's folder or that of a working copy; its code is imported before installed packages.
        tests: Node ids without parameters, such as `tests/shared/test_logs.py::test_secrets_are_masked_everywhere`.
        test_seconds: Stop at the first failure, and let no test run longer; on a busy machine, in proportion to its
            load. Later tests then have no verdict.
        environment: Further variables.

    Returns:
        A verdict for each test. A test that did not run counts as failed, with the reason.
    """
    wanted = list(dict.fromkeys(tests))
    # Files and `-k` instead of node ids: pytest stops the whole run if the file of a node id cannot be imported.
    files = dict.fromkeys(test.partition("::")[0] for test in wanted)
    names = " or ".join(dict.fromkeys(test.rpartition("::")[2] for test in wanted))
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        options = [
            "-q",
            "-k",
            names,
            "-p",
            "no:cacheprovider",
            "--continue-on-collection-errors",
            f"--junitxml={report}",
            "-o",
            "junit_logging=all",
            *(word for plugin in _UNUSED for word in ("-p", f"no:{plugin}")),
        ]
        limit = None
        if test_seconds is not None:
            busy = _load()
            limit = _LIMIT_SECONDS * busy
            options += ["-x", f"--timeout={test_seconds * busy:g}", "-o", "timeout_func_only=true"]
        status, printed = _run(
            [sys.executable, "-m", "pytest", *options, *files],
            folder,
            {
                **_environment(),
                **({} if test_seconds is None else {"TEST_GRACE_SECONDS": _TEARDOWN_SECONDS}),
                **(environment or {}),
            },
            limit,
        )
        found = _verdicts(report) if report.exists() else {}
    if test_seconds is not None and any(not verdict.passed for verdict in found.values()):
        return {test: found[test] for test in wanted if test in found}
    if test_seconds is not None and not found and (running := _running_test(printed, wanted)):
        return {
            running: Verdict(
                passed=False,
                message="TimeoutError: the test did not end; an endless loop? / 测试一直没有结束，是不是死循环？",
                output=printed,
            )
        }
    errors = [line.removeprefix("E").strip() for line in printed.splitlines() if line.startswith("E  ")]
    why = errors[0] if errors else f"pytest ended with status {status}"
    missing = Verdict(passed=False, message=f"did not run: {why}", output=printed)
    return {test: found.get(test, missing) for test in wanted}


def _load() -> float:
    """Return how many processes want to run on each core, on average of the last minute, but at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _running_test(printed: str, tests: Iterable[str]) -> str | None:
    """Return the test that was running when a process printed its stacks and ended, or None if it printed none."""
    if "(most recent call first)" not in printed:
        return None
    return next((test for test in tests if f" in {test.rpartition('::')[2]}\n" in printed), next(iter(tests), None))


def _run(command: list[str], folder: Path, environment: dict[str, str], limit: float | None) -> tuple[int, str]:
    """Run a command; interrupt it at a limit in seconds, and kill it if that has no effect.

    Returns:
        The exit status and all output.
    """
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        printed, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        process.kill()
        printed, _ = process.communicate()
    except BaseException:
        process.kill()
        raise
    return process.returncode, printed


def _environment() -> dict[str, str]:
    """Return the environment without variables that import the project from elsewhere or measure its coverage."""
    return {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("COVERAGE_")
    }


def explanation(lines: Iterable[str]) -> list[str]:
    """Return the lines of a failure without blank ones and advice on pytest's own options."""
    return [line for line in lines if line.strip() and not line.strip().startswith("Use -v ")]


def _node_id(class_name: str, name: str) -> str:
    """Return the node id of a test case, whose class name is that of its module and perhaps of a class in it."""
    parts = class_name.split(".")
    module = next((place for place, part in enumerate(parts) if part.startswith("Test")), len(parts))
    return "::".join([f"{'/'.join(parts[:module])}.py", *parts[module:], name.partition("[")[0]])


def _verdicts(report: Path) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  written by pytest
        name = _node_id(case.get("classname", ""), case.get("name", ""))
        failure = next((child for child in case if child.tag in _PREFIXES), None)
        if failure is not None and verdicts.get(name, Verdict(passed=True)).passed:
            message = " ".join((failure.get("message") or failure.text or "").split())
            written = [child.text or "" for child in case if child.tag in {"system-out", "system-err"}]
            verdicts[name] = Verdict(
                passed=False,
                message=f"{_PREFIXES[failure.tag]}{message}"[:_MAX_MESSAGE_LENGTH],
                output="\n".join([*written, failure.text or ""]),
            )
        else:
            verdicts.setdefault(name, Verdict(passed=True))
    return verdicts
