"""The JavaScript of tests and examples, with its packages, in a folder that git ignores."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NOT_COPIED = shutil.ignore_patterns("node_modules", "dist", "__pycache__", "*.py")


def install_javascript(source: Path, name: str, node: tuple[int, ...] = (20,)) -> Path:
    """Copy a folder, and install its packages once for each lock. Without this Node or a newer one, skip the test."""
    if not shutil.which("npm") or _node_version() < node:
        needed = ".".join(map(str, node))
        pytest.skip(f"NO NODE: {name} is not tested; install Node {needed} or newer, with npm")
    folder = ROOT / ".data" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "installing").open("w") as installing:
        fcntl.flock(installing, fcntl.LOCK_EX)  # tests run in several processes
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=_NOT_COPIED)
        lock, done = (source / "package-lock.json").read_text("utf-8"), folder / "installed"
        if not done.exists() or done.read_text("utf-8") != lock:
            subprocess.run(["npm", "ci", "--no-progress"], cwd=folder, check=True)
            done.write_text(lock, "utf-8")
    return folder


def _node_version() -> tuple[int, ...]:
    printed = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, printed.strip().removeprefix("v").split(".")))
