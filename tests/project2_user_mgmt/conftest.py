"""Stage 2 on a real PostgreSQL: `TEST_DATABASE_URL`, or the embedded one; a database of its own for every test."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from project1_qa_api.settings import Settings as Stage1Settings
from project2_user_mgmt.main import create_app
from project2_user_mgmt.settings import Settings
from shared.dev.services import postgres
from shared.dev.state import StageState
from shared.migrate import migrate
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

_TEMPLATE = "migrated_template"


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server whose databases the tests may make and drop."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    state = StageState("tests")
    state.folder = tmp_path_factory.mktemp("postgres")
    child, found_by = postgres(state, os.environ)
    with asyncio.Runner() as runner:
        runner.run(child.start())
        yield found_by["DATABASE_URL"]
        runner.run(child.stop())


def _of(server_url: str, database: str) -> str:
    return make_url(server_url).set(database=database).render_as_string(hide_password=False)


def _run(server_url: str, statement: str, **names: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        identifiers = {key: sql.Identifier(name) for key, name in names.items()}
        connection.execute(sql.SQL(statement).format(**identifiers))


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """A database that the real migrations have made. Every test gets a copy, which takes some milliseconds."""
    _run(server_url, "DROP DATABASE IF EXISTS {name}", name=_TEMPLATE)
    _run(server_url, "CREATE DATABASE {name}", name=_TEMPLATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", _of(server_url, _TEMPLATE))
        assert migrate("project2_user_mgmt", "project2") == 0
    return _TEMPLATE


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """The address of a database without a table."""
    _run(server_url, "CREATE DATABASE {name}", name="empty")
    yield _of(server_url, "empty")
    _run(server_url, "DROP DATABASE {name} WITH (FORCE)", name="empty")


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """The address of a migrated database without a row."""
    _run(server_url, "CREATE DATABASE {name} TEMPLATE {template}", name="test", template=template)
    yield _of(server_url, "test")
    _run(server_url, "DROP DATABASE {name} WITH (FORCE)", name="test")


@pytest.fixture
def serve2(
    make_settings: Callable[..., Stage1Settings], database_url: str, model: ScriptedModel
) -> Callable[..., AbstractContextManager[str]]:
    """Serves stage 2 with changed settings while a block runs; gives its URL."""
    assert model is not None

    @contextmanager
    def serve(**changes: Any) -> Iterator[str]:
        stage1 = make_settings().model_dump(exclude={"port", *changes})
        given = stage1 | {"database_url": database_url} | changes
        with running(create_app(Settings(**given))) as url:
            yield url

    return serve


@pytest.fixture
async def client2(serve2: Callable[..., AbstractContextManager[str]]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 2."""
    with serve2(llm_timeout_seconds=1) as url:
        limits = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False, limits=limits) as http:
            yield http
