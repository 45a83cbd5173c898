"""The JavaScript packages that the tests use."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent
INSTALLED = Path(__file__).parents[3] / ".data" / "conformance-javascript"


@pytest.fixture(scope="session")
def javascript() -> Path:
    """A folder with the scripts and the packages that they use, installed once for each lock."""
    if not shutil.which("npm"):
        pytest.skip("NO NODE: the JavaScript client is not tested; install Node 20 or newer, with npm")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for path in (*SOURCE.glob("*.js*"), SOURCE / ".npmrc"):
        shutil.copy(path, INSTALLED)
    lock, done = (SOURCE / "package-lock.json").read_text(), INSTALLED / "installed"
    if not done.exists() or done.read_text() != lock:
        subprocess.run(["npm", "ci", "--no-progress"], cwd=INSTALLED, check=True)
        done.write_text(lock)
    return INSTALLED
