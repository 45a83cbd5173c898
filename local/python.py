"""Python processes that import this project's packages, independent of the current folder."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUARD = Path(__file__).with_name("child.py")  # executed as a file: it needs none of the project's packages


def python(*arguments: str) -> list[str]:
    """Return a command line of this Python, which does not import from the current folder.

    A user's project may contain packages with the names of ours.
    """
    return [sys.executable, "-P", *arguments]


def python_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a Python process finds the packages of a checkout that is not installed."""
    if ROOT.name == "site-packages":
        return dict(environment)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(ROOT)]
    return {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *paths])}
