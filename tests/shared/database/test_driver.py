"""Connections to the writable one of several servers."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import pytest
from sqlalchemy.engine import make_url

from shared.database.driver import DeadlineConnection, PrimaryConnection, closed_by_server, conninfo
from shared.database.engine import create_engine, create_session_factory, transaction
from shared.database.pool import ConnectionPool


@dataclass(frozen=True)
class Settings:
    """Settings of the database."""

    database_url: str
    db_pool_size: int = 1
    database_session_url: str | None = None
    db_pool_timeout_seconds: float = 3
    db_connect_timeout_seconds: int = 2
    db_statement_timeout_seconds: float = 5


@pytest.fixture
def silent_first(server_url: str) -> Iterator[str]:
    """An address whose first server accepts connections and never says anything."""
    url = make_url(server_url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},{url.host}:{url.port}"
        yield f"postgresql://{url.username}:{url.password}@{hosts}/{url.database}"


async def test_server_that_is_down_delays_only_the_first_connection(silent_first: str) -> None:
    address = conninfo(Settings(silent_first))
    started = monotonic()
    async with await PrimaryConnection.connect(address):
        first = monotonic() - started

    started = monotonic()
    async with await PrimaryConnection.connect(address):
        second = monotonic() - started

    assert first > 1.9
    assert second < 1.9


async def test_options_of_the_address_take_precedence(server_url: str) -> None:
    url = f"{server_url}?options=-c+statement_timeout%3D1234+-c+work_mem%3D1MB&application_name=mine&connect_timeout=7"
    async with await DeadlineConnection.connect(conninfo(Settings(url))) as connection:
        cursor = await connection.execute(
            "SELECT current_setting('statement_timeout'), current_setting('work_mem'), "
            "current_setting('idle_in_transaction_session_timeout'), current_setting('application_name')"
        )
        assert await cursor.fetchone() == ("1234ms", "1MB", "20s", "mine")
    assert "connect_timeout=7" in conninfo(Settings(url))


@pytest.mark.parametrize("read_only", ["default_transaction_read_only", "transaction_read_only"])
async def test_connection_to_a_read_only_server_is_not_used_again(server_url: str, read_only: str) -> None:
    async with await DeadlineConnection.connect(conninfo(Settings(server_url)), autocommit=True) as connection:
        if read_only == "transaction_read_only":
            await connection.execute("BEGIN READ ONLY")
            with pytest.raises(Exception, match="read-only transaction"):
                await connection.execute("CREATE TABLE refused ()")
        else:
            cursor = await connection.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
            assert await cursor.fetchone() == ("on",)  # the rows that were read are kept
        assert closed_by_server(connection)


COUNTS_BYTES = hasattr(socket, "TCP_INFO")  # Linux does
_PID = "SELECT pg_backend_pid(), repeat('x', %s)"


@pytest.mark.parametrize(("size", "kept"), [(1_000_000, True), (10_000_000, False)])
async def test_pool_replaces_connections_with_large_buffers(server_url: str, size: int, kept: bool) -> None:
    async with ConnectionPool(
        conninfo(Settings(server_url)), connection_class=PrimaryConnection, min_size=1, max_size=1
    ) as pool:
        pids = []
        for _ in range(2):
            async with pool.connection() as connection:
                cursor = await connection.execute(_PID, [size])
                pids.append(await cursor.fetchone())
    assert (pids[0] == pids[1]) == (kept or not COUNTS_BYTES)


@pytest.mark.parametrize(("size", "kept"), [(1_000_000, True), (10_000_000, False)])
async def test_engine_replaces_connections_with_large_buffers(server_url: str, size: int, kept: bool) -> None:
    engine = create_engine(Settings(server_url))
    pids = []
    for _ in range(2):
        async with transaction(create_session_factory(engine)) as session:
            connection = await session.connection()
            pids.append((await connection.exec_driver_sql(_PID, (size,))).one())
    await engine.dispose()
    assert (pids[0] == pids[1]) == (kept or not COUNTS_BYTES)
