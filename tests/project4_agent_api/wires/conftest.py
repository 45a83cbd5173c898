"""One service for the tests of all wires: real processes, with an agent that asks before it calculates."""

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI

from tests.support.agent_runs import GRAPHS
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel
from tests.support.valkeys import database_of


@pytest.fixture(scope="package")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    # A database of its own: the service lives longer than a test, and others empty the first one.
    redis_url = database_of(_redis_server, 5)
    with (
        databases.migrated("project4_agent_api") as url,
        agent_service(
            url,
            redis_url,
            _model_server,
            GRAPHS,
            agent_approval_tools="calculator",
            lease_seconds="2",
            sign_ins_per_minute="1000",
        ) as running,
    ):
        yield running


@pytest.fixture(scope="package")
def headers(service: AgentService) -> dict[str, str]:
    """The headers of an account."""
    return service.sign_up()


@pytest.fixture
async def openai_client(service: AgentService, headers: dict[str, str]) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client of that account."""
    token = headers["Authorization"].removeprefix("Bearer ")
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key=token, max_retries=0) as client:
        yield client
