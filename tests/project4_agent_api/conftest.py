"""Stage 4 on a real PostgreSQL and a real Valkey; embeddings and answers come from the scripted model."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from project1_qa_api.settings import Settings as Stage1Settings
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from tests.support.accounts import bearer, register, sign_in
from tests.support.agent_parts import ALICE, BOB, client_of, create_parts, sdk_of
from tests.support.agent_service import AgentService
from tests.support.databases import Databases
from tests.support.processes import run
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

Serve = Callable[..., AbstractContextManager[str]]
SignUp = Callable[..., Awaitable[dict[str, str]]]
Operate = Callable[..., str]


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a migrated database without a row."""
    with databases.migrated("project4_agent_api") as url:
        yield url


@pytest.fixture
def make_settings4(
    make_settings: Callable[..., Stage1Settings], database_url: str, redis_url: str, model: ScriptedModel
) -> Callable[..., Settings]:
    """Makes stage 4's settings, pointed at the scripted model, the test's database and the test's Valkey."""
    assert model is not None
    return partial(settings_for, make_settings, database_url, redis_url)


def settings_for(
    make_settings: Callable[..., Stage1Settings], database_url: str, redis_url: str, /, **changes: Any
) -> Settings:
    """Make stage 4's settings, pointed at the scripted model and these servers."""
    stage1 = make_settings().model_dump(exclude={"port", *changes})
    fixed: dict[str, Any] = {
        "embedding_model": "e",
        "database_url": database_url,
        "redis_url": redis_url,
        "jwt_secret": "a secret of the tests, with more than 32 bytes",
        "db_pool_timeout_seconds": 30,
        "db_connect_timeout_seconds": 30,  # a process that gets no processor for seconds finds this expired
        "sign_ins_per_minute": 10_000,
        "rate_limit_per_minute": 1_000_000,
    }
    return Settings(**(fixed | stage1 | changes))


@pytest.fixture
def serve4(make_settings4: Callable[..., Settings]) -> Serve:
    """Serves stage 4's API with changed settings while a block runs; gives its URL."""

    @contextmanager
    def serve(**changes: Any) -> Iterator[str]:
        with running(create_app(make_settings4(**changes))) as url:
            yield url

    return serve


@pytest.fixture
async def client4(serve4: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 4 that has not signed in."""
    with serve4(llm_timeout_seconds=5) as url:
        limits = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as http:
            yield http


@pytest.fixture
def sign_up(client4: httpx2.AsyncClient) -> SignUp:
    """Makes an account and signs in; gives the headers that show it."""

    async def sign_up(email: str = "ada@example.com", *, client: httpx2.AsyncClient = client4) -> dict[str, str]:
        await register(client, email)
        return bearer(await sign_in(client, email))

    return sign_up


@pytest.fixture
def operate(database_url: str, redis_url: str) -> Operate:
    """Runs an operator command on the test's database; returns its output."""

    def operate(*arguments: str, says: str = "", status: int = 0) -> str:
        environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PATH": os.environ["PATH"]}
        done = run("project4_agent_api", *arguments, environment=environment, says=says)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    return operate


@pytest.fixture
def parts(make_settings4: Callable[..., Settings]) -> FastAPI:
    """Assistants, store and crons without the rest of stage 4, and without accounts: a header names the owner."""
    return create_parts(make_settings4())


@pytest.fixture
def parts_url(parts: FastAPI) -> Iterator[str]:
    with running(parts) as url:
        yield url


@pytest.fixture
async def alice(parts_url: str) -> AsyncIterator[LangGraphClient]:
    async with sdk_of(parts_url, ALICE) as client:
        yield client


@pytest.fixture
async def bob(parts_url: str) -> AsyncIterator[LangGraphClient]:
    async with sdk_of(parts_url, BOB) as client:
        yield client


@pytest.fixture
async def alice_http(parts_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Alice's client of the same parts, for requests that LangGraph's client cannot make."""
    async with client_of(parts_url, ALICE) as client:
        yield client


# Of an account in a module's `service`, which is in processes of its own.


@pytest.fixture(scope="module")
def headers(service: AgentService) -> dict[str, str]:
    """The headers of an account."""
    return service.sign_up()


@pytest.fixture
async def http(service: AgentService, headers: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that account."""
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
async def client(service: AgentService, headers: dict[str, str]) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client of that account."""
    async with get_client(url=service.url, api_key=None, headers=headers) as client:
        yield client
