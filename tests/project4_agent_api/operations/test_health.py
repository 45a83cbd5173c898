"""`/ready` names the failed check; `/health` depends on nothing."""

import asyncio
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest

from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from shared.database.migrate import migrate
from tests.support.databases import Databases
from tests.support.proxy import Background, Proxy
from tests.support.running import running

Make = Callable[..., Settings]
CREATE = [create_app, create_worker]


class Proxies:
    """A proxy before each server."""

    def __init__(self, background: Background, database_url: str, redis_url: str) -> None:
        self.database, self.redis = (Proxy(background, urlsplit(url).port or 0) for url in (database_url, redis_url))
        self.urls = {
            "database_url": _at(database_url, self.database.port),
            "redis_url": _at(redis_url, self.redis.port),
        }


def _at(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


@pytest.fixture
def proxies(database_url: str, redis_url: str) -> Iterator[Proxies]:
    background = Background()
    proxies = Proxies(background, database_url, redis_url)
    yield proxies
    proxies.database.close()
    proxies.redis.close()
    background.close()


async def becomes(http: httpx2.AsyncClient, detail: str | None) -> None:
    """Wait until it is not ready for these reasons, or ready."""
    async with asyncio.timeout(120):
        while (await http.get("/ready")).json().get("detail") != detail:  # noqa: ASYNC110  it is in another thread
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("create", CREATE)
async def test_stopped_or_frozen_dependency_is_named(proxies: Proxies, make_settings4: Make, create: Callable) -> None:  # type: ignore[type-arg]  # a fixture's function
    settings = make_settings4(
        **proxies.urls, lease_seconds=1, db_statement_timeout_seconds=1, db_pool_timeout_seconds=1
    )
    runs = " Not working: runs." if create is create_worker else ""
    with running(create(settings)) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            await becomes(http, None)
            with proxies.redis.refusing():
                await becomes(http, "Not reachable: redis.")
                assert (await http.get("/ready")).status_code == 503
            await becomes(http, None)
            with proxies.redis.stalling():
                await becomes(http, "Not reachable: redis.")
            await becomes(http, None)
            with proxies.database.refusing():
                await becomes(http, f"Not reachable: database.{runs}")
                assert (await http.get("/health")).status_code == 200
            await becomes(http, None)
            with proxies.database.stalling():
                await becomes(http, f"Not reachable: database.{runs}")
                assert (await http.get("/health")).status_code == 200
            await becomes(http, None)


async def test_processes_start_before_their_servers(proxies: Proxies, make_settings4: Make) -> None:
    with proxies.database.refusing(), proxies.redis.refusing():
        service = running(create_app(make_settings4(**proxies.urls)))
        url = service.__enter__()
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            assert (await http.get("/ready")).json()["detail"] == "Not reachable: database, redis."
            assert (await http.get("/health")).status_code == 200
    async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
        await becomes(http, None)
        account = {"email": "a@example.com", "name": "A", "password": "correct horse battery staple"}
        assert (await http.post("/auth/register", json=account)).status_code == 201
    service.__exit__(None, None, None)


async def test_unmigrated_database_is_not_ready(
    databases: Databases, make_settings4: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with databases.empty() as database_url, running(create_app(make_settings4(database_url=database_url))) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            assert (await http.get("/ready")).json()["detail"] == "Not up to date: migrations."
            monkeypatch.setenv("DATABASE_URL", database_url)
            assert await asyncio.to_thread(migrate, "project3_rag_docs", "project3") == 0
            assert (await http.get("/ready")).json()["detail"] == "Not up to date: migrations."
            assert await asyncio.to_thread(migrate, "project4_agent_api", "project4") == 0
            assert (await http.get("/ready")).status_code == 200


async def test_migration_waits_for_the_database(
    proxies: Proxies, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", proxies.urls["database_url"])
    with proxies.database.refusing():
        started = time.monotonic()
        migrating = asyncio.create_task(asyncio.to_thread(migrate, "project4_agent_api", "project4", ["--wait", "60"]))
        while not (said := capsys.readouterr().err):
            await asyncio.sleep(0.02)
            assert time.monotonic() - started < 30
    assert await migrating == 0
    assert said.startswith("waiting up to 60 s for the database at 127.0.0.1:")
    assert said.count("\n") == 1
