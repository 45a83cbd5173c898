"""Run tests with pytest, and read the outcome of each."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_MAX_MESSAGE_LENGTH = 200
_PREFIXES = {"failure": "", "error": "", "skipped": "skipped: "}


@dataclass(frozen=True)
class Verdict:
    """The outcome of a test, over all of its parameters.

    Attributes:
        message: The first failure, on one line.
    """

    passed: bool
    message: str = ""


def run_tests(folder: Path, tests: Iterable[str]) -> Mapping[str, Verdict]:
    """Run tests in one pytest process.

    Args:
        folder: The project's folder or that of a working copy; its code is imported, whatever else is installed.
        tests: Node ids without parameters, such as `tests/shared/test_logs.py::test_secrets_are_masked_everywhere`.

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
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        found = _verdicts(report) if report.exists() else {}
    errors = [
        line.removeprefix("E").strip() for line in (done.stderr + done.stdout).splitlines() if line.startswith("E  ")
    ]
    why = errors[0] if errors else f"pytest ended with status {done.returncode}"
    return {test: found.get(test, Verdict(passed=False, message=f"did not run: {why}")) for test in wanted}


def _environment() -> dict[str, str]:
    """Return the environment without variables that import the project from elsewhere or measure its coverage."""
    return {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("COVERAGE_")
    }


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
            verdicts[name] = Verdict(passed=False, message=f"{_PREFIXES[failure.tag]}{message}"[:_MAX_MESSAGE_LENGTH])
        else:
            verdicts.setdefault(name, Verdict(passed=True))
    return verdicts
