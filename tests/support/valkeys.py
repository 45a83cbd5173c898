"""A real Valkey: `TEST_REDIS_URL`, or the embedded one. Every test finds it empty."""

import asyncio
import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from redis import Redis

from shared.dev.services import valkey
from shared.dev.state import StageState


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        # Of processes that test side by side on one server, each has a database of its own.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        yield database_of(given, 2 + int(worker.removeprefix("gw"))) if worker else given
        return
    state = StageState("tests")
    state.folder = tmp_path_factory.mktemp("valkey")
    child, found_by = valkey(state, os.environ)
    with asyncio.Runner() as runner:
        runner.run(child.start())
        yield found_by["REDIS_URL"]
        runner.run(child.stop())


def database_of(address: str, number: int) -> str:
    """Return the address of another of a server's databases, which share no key."""
    return urlunsplit(urlsplit(address)._replace(path=f"/{number}"))


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """The address of a server without a key."""
    with Redis.from_url(_redis_server) as client:
        client.flushdb()
    return _redis_server
