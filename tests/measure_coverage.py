"""`make coverage`: all tests, measured. Arguments are pytest's.

On Python 3.12 and newer coverage uses `sys.monitoring`, which traces no thread and so cannot hang when one ends. It
measures branches from 3.14 on, lines before. Python 3.11 has only the C tracer.
"""

import os
import subprocess
import sys

# pyproject.toml reads these.
_LINES = {"COVERAGE_CORE": "sysmon", "COVERAGE_CONCURRENCY": "thread", "COVERAGE_BRANCH": "false"}
_BRANCHES = _LINES | {"COVERAGE_BRANCH": "true"}
_FALLBACK = (
    "Python 3.11 has no sys.monitoring: coverage falls back to its C tracer, which can hang for good "
    "when a thread that used greenlets ends. It cannot in a clone made with `make PYTHON=python3.13 coverage`."
)


def main(arguments: list[str]) -> int:
    """Run the tests, put the figures of all processes together, and report them."""
    chosen: dict[str, str] = {}
    if sys.version_info >= (3, 12):
        chosen = _BRANCHES if sys.version_info >= (3, 14) else _LINES
    else:
        print(_FALLBACK, file=sys.stderr)  # noqa: T201  a command
    environment = os.environ | chosen

    def coverage(*words: str) -> int:
        return subprocess.run([sys.executable, "-m", "coverage", *words], env=environment, check=False).returncode

    coverage("erase")
    failed = coverage("run", "-m", "pytest", *arguments)
    coverage("combine", "--quiet")
    return failed or coverage("report")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
