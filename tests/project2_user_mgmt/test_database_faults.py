"""A database that is unavailable, frozen, slow or overloaded: 503, and the service recovers by itself."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import httpx2
import psutil
import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from local.processes import Child
from local.services import postgres
from local.state import StageState
from shared.database.engine import transaction
from shared.database.migrate import migrate
from shared.errors import DatabaseUnavailable
from tests.support.until import until

pytestmark = pytest.mark.slow

Serve = Callable[..., AbstractContextManager[str]]
QUICK = {"db_statement_timeout_seconds": 1, "db_pool_timeout_seconds": 1, "db_connect_timeout_seconds": 2}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> tuple[Child, str]:
    """A PostgreSQL server for these tests alone: the child that runs it, and its address."""
    state = StageState("faults")
    state.folder = tmp_path_factory.mktemp("postgres")
    child, found_by = postgres(state, os.environ)
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        runner.run(child.start())
        patch.setenv("DATABASE_URL", found_by["DATABASE_URL"])
        assert migrate("project2_user_mgmt", "project2") == 0
        runner.run(child.stop())
    return child, found_by["DATABASE_URL"]


@pytest.fixture
async def server(cluster: tuple[Child, str]) -> AsyncIterator[Child]:
    """Run such a server."""
    child, _ = cluster
    await child.start()
    yield child
    for process in processes_of(child):
        process.send_signal(signal.SIGCONT)
    await child.stop()


@pytest.fixture
async def client(cluster: tuple[Child, str], server: Child, serve2: Serve) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of stage 2 on that server."""
    assert server.pid
    with serve2(database_url=cluster[1], db_pool_size=4, **QUICK) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            await recovers(http)  # from its own start, where the first connections take longer than the limits
            yield http


def processes_of(child: Child) -> list[psutil.Process]:
    if child.pid is None:
        return []
    postmaster = psutil.Process(child.pid)
    return [postmaster, *postmaster.children(recursive=True)]


async def answers(client: httpx2.AsyncClient, requests: int = 12) -> Counter[int]:
    responses = await asyncio.gather(*(client.get("/users") for _ in range(requests)))
    for response in responses:
        if response.status_code != 200:
            assert response.json()["type"] == "urn:problem:database-unavailable"
            assert int(response.headers["retry-after"]) > 0
    return Counter(response.status_code for response in responses)


async def recovers(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(120):
        while (await client.get("/users")).status_code != 200:
            pass


async def test_stopped_database_is_503(client: httpx2.AsyncClient, server: Child) -> None:
    await server.stop()

    assert await answers(client) == {503: 12}
    ready = await client.get("/ready")
    assert (ready.status_code, ready.json()["detail"]) == (503, "Not reachable: database.")
    assert (await client.get("/health")).status_code == 200

    await server.start()
    await recovers(client)


async def test_killed_database_is_503(client: httpx2.AsyncClient, server: Child) -> None:
    for process in processes_of(server):
        process.kill()
    await until(lambda: server.pid is None)

    assert await answers(client) == {503: 12}

    await server.start()
    await recovers(client)


async def test_frozen_database_is_503(client: httpx2.AsyncClient, server: Child) -> None:
    for process in processes_of(server):
        process.suspend()

    assert await answers(client) == {503: 12}  # each within the client's 20 s, or this would have raised
    assert (await client.get("/ready")).status_code == 503
    assert (await client.get("/health")).status_code == 200

    for process in processes_of(server):
        process.resume()
    await recovers(client)


async def test_read_only_database_is_503_until_it_can_be_written(
    client: httpx2.AsyncClient, cluster: tuple[Child, str], server: Child
) -> None:
    assert server.pid
    account = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery staple"}
    assert await answers(client) == {200: 12}  # fills the pool with connections
    set_read_only(cluster[1], "on")

    refused = await client.post("/users", json=account)
    ready = await client.get("/ready")

    assert (refused.status_code, refused.json()["type"]) == (503, "urn:problem:database-unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert (ready.status_code, ready.json()["detail"]) == (503, "Read-only: database.")
    assert (await answers(client))[503] >= 8  # each of four connections may read once
    set_read_only(cluster[1], "off")
    await recovers(client)
    assert (await client.post("/users", json=account)).status_code == 201
    assert (await client.get("/ready")).status_code == 200


def set_read_only(url: str, value: str) -> None:
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        connection.execute("SELECT pg_reload_conf()")
    shown = None
    while shown != (value,):
        with psycopg.connect(url) as connection:
            shown = connection.execute("SHOW default_transaction_read_only").fetchone()


async def test_service_becomes_ready_although_the_first_of_its_servers_is_silent(
    cluster: tuple[Child, str], server: Child, serve2: Serve
) -> None:
    assert server.pid
    url = make_url(cluster[1])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},{url.host}:{url.port}"
        address = f"postgresql://{url.username}:{url.password}@{hosts}/{url.database}"
        with serve2(database_url=address, **QUICK) as base_url:
            async with httpx2.AsyncClient(base_url=base_url, timeout=120, trust_env=False) as http, asyncio.timeout(30):
                while (await http.get("/ready")).status_code != 200:
                    pass


async def test_slow_statement_is_cancelled_and_full_pool_reported(
    client: httpx2.AsyncClient, cluster: tuple[Child, str]
) -> None:
    async with await psycopg.AsyncConnection.connect(cluster[1]) as other:
        await other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        responses = await asyncio.gather(*(client.get("/users") for _ in range(12)))
        await other.rollback()

    assert {response.status_code for response in responses} == {503}
    details = Counter(response.json()["detail"] for response in responses)
    assert details["The database took too long."] >= 4  # as many as there are connections
    assert set(details) <= {"The database took too long.", "All connections are in use. Try again shortly."}
    await recovers(client)


async def test_deadlock_victim_receives_503(cluster: tuple[Child, str], server: Child) -> None:
    assert server.pid
    engine = create_async_engine(make_url(cluster[1]).set(drivername="postgresql+psycopg"))
    both_hold = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> int:
        try:
            async with transaction(async_sessionmaker(engine)) as session:
                await session.execute(text(f"SELECT pg_advisory_xact_lock({first})"))
                await both_hold.wait()
                await session.execute(text(f"SELECT pg_advisory_xact_lock({second})"))
        except DatabaseUnavailable as error:
            return error.status
        return 200

    statuses = await asyncio.gather(lock(1, 2), lock(2, 1))
    await engine.dispose()

    assert sorted(statuses) == [200, 503]
