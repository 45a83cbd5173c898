"""One service for each profile of the scripted model, on a database with one document."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from project1_qa_api.settings import Settings
from project3_rag_docs.main import create_app
from tests.project3_rag_docs.conftest import settings_for
from tests.project4_agent_api.agents.conftest import agent_settings, make_services, talk
from tests.support.databases import Databases
from tests.support.documents import TEXT
from tests.support.running import running
from tests.support.scripted_model import PROFILES, Profile, ScriptedModel
from tests.support.sse import events_in

MakeSettings = Callable[..., Settings]

__all__ = ["agent_settings", "make_services", "talk"]


@pytest.fixture(scope="module")
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a database with a document about the library's hours."""
    with databases.migrated("project4_agent_api") as url:
        yield url


@pytest.fixture(scope="module", params=PROFILES)
def profile(request: pytest.FixtureRequest) -> Profile:
    """One endpoint after another."""
    return PROFILES[request.param]


@pytest.fixture(scope="module")
def _document(_model_server: ScriptedModel, make_settings: MakeSettings, database_url: str) -> None:
    _model_server.reset()
    with _served(make_settings, database_url) as http:
        document = http.post("/documents", files={"file": ("hours.txt", TEXT.encode())}).json()
        name, _ = events_in(http.get(f"/documents/{document['id']}/events").text)[-1]
    assert name == "ready"


@pytest.fixture(scope="module")
def http(make_settings: MakeSettings, database_url: str, profile: Profile, _document: None) -> Iterator[httpx2.Client]:
    """A client of stages 1 to 3 in front of the profile's endpoint."""
    with _served(make_settings, database_url, llm_model=f"m-{profile.name}") as client:
        yield client


@contextmanager
def _served(make_settings: MakeSettings, database_url: str, **changes: Any) -> Iterator[httpx2.Client]:
    settings = settings_for(make_settings, database_url, llm_timeout_seconds=5, **changes)
    with running(create_app(settings)) as url, httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(autouse=True)
def _endpoint(request: pytest.FixtureRequest, model: ScriptedModel) -> None:
    if "profile" in request.fixturenames:
        model.profile = request.getfixturevalue("profile")
