"""Starts launchers, and surely ends them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.launched import Launched, free_port
from tests.support.scripted_model import ScriptedModel


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Starts launchers in a folder of their own; ends those that a test has left."""
    started: list[Launched] = []

    def launch(*arguments: str, folder: Path = tmp_path, **environment: str) -> Launched:
        folder.mkdir(exist_ok=True)
        started.append(Launched(folder, environment, *(arguments or ("project1",))))
        return started[-1]

    yield launch
    for one in started:
        one.close()


@pytest.fixture
def given(model: ScriptedModel) -> dict[str, str]:
    """An environment in which every address is given."""
    return {"OPENAI_BASE_URL": model.base_url, "LLM_MODEL": "m", "PORT": str(free_port())}
