"""The JavaScript packages that the tests use."""

from pathlib import Path

import pytest

from tests.support.javascript import install_javascript


@pytest.fixture(scope="session")
def javascript() -> Path:
    """A folder with the scripts and the packages that they use."""
    return install_javascript(Path(__file__).parent, "conformance-javascript")
