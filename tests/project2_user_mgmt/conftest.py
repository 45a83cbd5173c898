"""Stage 2 on a real PostgreSQL; a database of its own for every test."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import httpx2
import pytest

from project1_qa_api.settings import Settings as Stage1Settings
from project2_user_mgmt.main import create_app
from project2_user_mgmt.settings import Settings
from tests.support.databases import Databases
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[str]:
    """The address of a database without a table."""
    with databases.empty() as url:
        yield url


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a migrated database without a row."""
    with databases.migrated("project2_user_mgmt") as url:
        yield url


@pytest.fixture
def serve2(
    make_settings: Callable[..., Stage1Settings], database_url: str, model: ScriptedModel
) -> Callable[..., AbstractContextManager[str]]:
    """Serves stage 2 with changed settings while a block runs; gives its URL."""
    assert model is not None
    return partial(served_on, make_settings, database_url=database_url)


@contextmanager
def served_on(make_settings: Callable[..., Stage1Settings], database_url: str, **changes: Any) -> Iterator[str]:
    """Serve stage 2 on a database while the block runs; give its URL."""
    stage1 = make_settings().model_dump(exclude={"port", *changes})
    given = stage1 | {"database_url": database_url} | changes
    with running(create_app(Settings(**given))) as url:
        yield url


@pytest.fixture
async def client2(serve2: Callable[..., AbstractContextManager[str]]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 2."""
    with serve2(llm_timeout_seconds=5) as url:
        limits = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as http:
            yield http
