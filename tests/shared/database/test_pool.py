"""Log lines of a pool while its server is unavailable."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from shared.database import pool as module
from shared.database.pool import ConnectionPool
from tests.support.launched import free_port

Pool = ConnectionPool[AsyncConnection[Any]]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool whose two servers refuse connections."""
    ports = f"{free_port()},{free_port()}"
    address = f"host=127.0.0.1,127.0.0.1 port={ports}"
    pool: Pool = ConnectionPool(address, min_size=2, open=False, timeout=0.2, reconnect_timeout=0.1, name=ports)
    yield pool
    await pool.close()


async def fail_to_connect(pool: Pool) -> None:
    """Let the pool try to connect, and fail, several times."""
    await pool.open(wait=False)
    wanted = pool.get_stats().get("connections_errors", 0) + 5
    while pool.get_stats().get("connections_errors", 0) < wanted:
        with pytest.raises(PoolTimeout):
            await pool.getconn()


async def test_outage_is_logged_once_for_each_pool(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    await fail_to_connect(pool)

    (line,) = [record.getMessage() for record in caplog.records if record.name == "psycopg.pool"]
    assert line.startswith(f"error connecting in {pool.name!r}: connection failed")
    assert "\n" not in line


async def test_next_outage_is_logged(
    pool: Pool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail_to_connect(pool)
    monkeypatch.setattr(module, "_OUTAGE_ENDS_SECONDS", -1.0)  # each warning belongs to another outage
    caplog.clear()

    await fail_to_connect(pool)

    assert len(caplog.records) >= 5


def test_other_records_pass(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("psycopg.pool")
    with caplog.at_level(logging.INFO, "psycopg.pool"):
        for _ in range(2):
            logger.info("connection given by %r", "a pool")
            logger.error("a failure in %r", "a pool")

    assert len(caplog.records) == 4
