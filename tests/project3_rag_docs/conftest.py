"""Stage 3 on a real PostgreSQL with pgvector; embeddings and answers come from the scripted model."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import httpx2
import pytest

from project1_qa_api.settings import Settings as Stage1Settings
from project3_rag_docs.main import create_app
from project3_rag_docs.settings import Settings
from tests.support.databases import Databases
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a migrated database without a row."""
    with databases.migrated("project3_rag_docs") as url:
        yield url


@pytest.fixture
def make_settings3(
    make_settings: Callable[..., Stage1Settings], database_url: str, model: ScriptedModel
) -> Callable[..., Settings]:
    """Makes stage 3's settings, pointed at the scripted model and the test's database."""
    assert model is not None
    return partial(settings_for, make_settings, database_url)


def settings_for(make_settings: Callable[..., Stage1Settings], database_url: str, **changes: Any) -> Settings:
    """Make stage 3's settings, pointed at the scripted model and this database."""
    stage1 = make_settings().model_dump(exclude={"port", *changes})
    defaults: dict[str, Any] = {"embedding_model": "e", "database_url": database_url, "ocr_enabled": False}
    return Settings(**(defaults | stage1 | changes))


@pytest.fixture
def serve3(make_settings3: Callable[..., Settings]) -> Serve:
    """Serves stage 3, its worker included, with changed settings while a block runs; gives its URL."""

    @contextmanager
    def serve(**changes: Any) -> Iterator[str]:
        with running(create_app(make_settings3(**changes))) as url:
            yield url

    return serve


@pytest.fixture(scope="module")
def shared_url3(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _model_server: ScriptedModel
) -> Iterator[str]:
    """Stage 3 for all tests of a module."""
    _model_server.reset()
    with (
        databases.migrated("project3_rag_docs") as url,
        running(create_app(settings_for(make_settings, url))) as served,
    ):
        yield served


@pytest.fixture
def url_without_documents(shared_url3: str, model: ScriptedModel) -> str:
    """The same, after the documents of earlier tests were deleted."""
    assert model is not None
    with httpx2.Client(base_url=shared_url3, timeout=120, trust_env=False) as http:
        for document in http.get("/documents?limit=100").raise_for_status().json()["items"]:
            http.delete(f"/documents/{document['id']}").raise_for_status()
    return shared_url3


@pytest.fixture
async def client3(serve3: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 3."""
    with serve3(llm_timeout_seconds=5) as url:
        limits = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as http:
            yield http


@pytest.fixture
async def patient_client3(serve3: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 3 that gives the model a minute, and embeds a document's chunks four at a time."""
    with serve3(llm_timeout_seconds=60, embedding_batch_size=4) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            yield http
