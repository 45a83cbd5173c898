"""The server under test: this project's service, or the one at `CONFORMANCE_URL`."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.conformance.receiver import Receiver
from tests.conformance.server import Server, our_service
from tests.conformance.support import REFERENCE
from tests.conformance.unknown_fields import UnknownFields
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel
from tests.support.valkeys import database_of


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in [
        ("reference_differs(reason)", "LangGraph's development server does not do this, for this reason"),
        ("ours_differs(reason)", "this project's service deliberately does otherwise, for this reason"),
    ]:
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A listed difference of a server must exist: once it no longer does, its mark has to go."""
    here = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(here):
            continue
        if not REFERENCE:
            item.add_marker(pytest.mark.slow)
        for marker in item.iter_markers("reference_differs" if REFERENCE else "ours_differs"):
            item.add_marker(pytest.mark.xfail(strict=True, reason=marker.args[0]))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server's address, and the headers that a request must carry."""
    if REFERENCE:
        yield Server(REFERENCE, {})
        return
    databases: Databases = request.getfixturevalue("databases")
    # A database of its own: the service lives as long as the session, and would take other services' wake-ups.
    redis_url = database_of(request.getfixturevalue("_redis_server"), 1)
    model: ScriptedModel = request.getfixturevalue("_model_server")
    with our_service(databases, redis_url, model) as ours:
        yield ours


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client of the server. It sends unknown fields with every body, as one of a newer version does."""
    transport = UnknownFields(httpx.AsyncHTTPTransport(retries=5))
    http = httpx.AsyncClient(base_url=server.url, headers=server.headers, transport=transport, timeout=300)
    async with LangGraphClient(http) as client:
        yield client


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain client of the server, for what LangGraph's does not show."""
    async with httpx2.AsyncClient(base_url=server.url, headers=server.headers, timeout=120, trust_env=False) as http:
        yield http


@pytest.fixture
async def thread_id(client: LangGraphClient) -> str:
    """A new thread."""
    return (await client.threads.create())["thread_id"]


@pytest.fixture
def unknown() -> str:
    """An id that nothing has."""
    return str(uuid.uuid4())


@pytest.fixture
def mark() -> str:
    """A word that nothing else on the server holds: what a test finds by it is its own."""
    return f"m{uuid.uuid4().hex}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Something for a webhook to call."""
    receiver = Receiver()
    yield receiver
    receiver.close()
