"""A service, as an API and a worker in this process, for a project in this folder."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from project1_qa_api.settings import Settings as Stage1Settings
from project4_agent_api.main import create_app
from project4_agent_api.worker import create_worker
from tests.project4_agent_api.conftest import settings_for
from tests.support.databases import Databases
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

PROJECTS = Path(__file__).parent

ServeProject = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def serve_project(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _redis_server: str, _model_server: ScriptedModel
) -> ServeProject:
    """Serves a project while a block runs; gives the URL of its API."""
    assert _model_server is not None

    @contextmanager
    def serve(name: str, *, worker: bool = True, **changes: Any) -> Iterator[str]:
        with ExitStack() as stack:
            database_url = stack.enter_context(databases.migrated("project4_agent_api"))
            settings = settings_for(
                make_settings,
                database_url,
                _redis_server,
                langgraph_config=PROJECTS / name / "langgraph.json",
                **changes,
            )
            if worker:
                stack.enter_context(running(create_worker(settings)))
            yield stack.enter_context(running(create_app(settings)))

    return serve
