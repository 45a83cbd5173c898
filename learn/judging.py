"""Running tests, and reading what became of each."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_LONGEST_MESSAGE = 200
_SAID_OF = {"failure": "", "error": "", "skipped": "skipped: "}


@dataclass(frozen=True)
class Verdict:
    """What became of a test, over all that it is parametrized with.

    Attributes:
        passed: Whether all of it passed.
        message: What went wrong, in one line.
    """

    passed: bool
    message: str = ""


def run_tests(folder: Path, tests: Iterable[str]) -> Mapping[str, Verdict]:
    """Run tests in one go.

    Args:
        folder: The project's, or a copy's: its code is imported, whatever else is installed.
        tests: Node ids without parameters, such as `tests/shared/test_http.py::test_cors`.

    Returns:
        A verdict for each. One that did not run has not passed, and says why.
    """
    wanted = list(dict.fromkeys(tests))
    # Files and names instead of node ids: of these, one whose file cannot be imported ends the whole run.
    files = dict.fromkeys(test.partition("::")[0] for test in wanted)
    names = " or ".join(test.partition("::")[2] for test in wanted)
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
            [sys.executable, "-m", "pytest", *options, "-k", names, *files],
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
    """This process's, without what would import the project from elsewhere, or measure a copy of it."""
    return {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("COVERAGE_")
    }


def _verdicts(report: Path) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest has written it
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
        wrong = next((one for one in case if one.tag in _SAID_OF), None)
        if wrong is not None and verdicts.get(name, Verdict(passed=True)).passed:
            message = " ".join((wrong.get("message") or wrong.text or "").split())
            verdicts[name] = Verdict(
                passed=False, message=f"{'skipped: ' * (wrong.tag == 'skipped')}{message}"[:_LONGEST_MESSAGE]
            )
        else:
            verdicts.setdefault(name, Verdict(passed=True))
    return verdicts
