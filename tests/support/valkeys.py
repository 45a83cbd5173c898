"""A real Valkey: `TEST_REDIS_URL`, or the embedded one. Every test finds it empty."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from redis import Redis

from local.services import valkey
from local.state import StageState


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        # Of processes that test side by side on one server, each has a database of its own.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        yield database_of(given, 2 + int(worker.removeprefix("gw"))) if worker else given
        return
    with _started(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    state = StageState("tests")
    state.folder = folder
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


@pytest.fixture
def full_redis_url(tmp_path: Path) -> Iterator[str]:
    """The address of a server of its own that has no memory left: it refuses commands that need more."""
    with _started(tmp_path) as url:
        with Redis.from_url(url) as client:
            client.config_set("maxmemory", 1)
        yield url
