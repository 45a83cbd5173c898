"""Connections to PostgreSQL: a vanished host is noticed on every kind of connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from project4_agent_api.core.postgres import create_pool
from project4_agent_api.settings import Settings
from shared.database.engine import create_engine
from shared.jobs.notifications import NotificationListener
from shared.jobs.queue import create_job_app, open_job_app
from tests.support.until import until

Open = Callable[[Settings], AsyncIterator[None]]


async def an_engine(settings: Settings) -> AsyncIterator[None]:
    engine = create_engine(settings)
    async with engine.connect():
        yield
    await engine.dispose()


async def a_pool(settings: Settings) -> AsyncIterator[None]:
    async with create_pool(settings):
        yield


async def jobs(settings: Settings) -> AsyncIterator[None]:
    async with open_job_app(create_job_app({}), settings):
        yield


async def notifications(settings: Settings) -> AsyncIterator[None]:
    async with NotificationListener(settings, "news").listen():
        yield


@pytest.mark.parametrize("open_", [an_engine, a_pool, jobs, notifications])
async def test_vanished_host_is_detected(
    make_settings4: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, open_: Open
) -> None:
    made: list[psycopg.AsyncConnection[Any]] = []
    connect: Callable[..., Awaitable[psycopg.AsyncConnection[Any]]] = psycopg.AsyncConnection.connect.__func__  # type: ignore[attr-defined]  # the function below a class method

    async def note(cls: type, *arguments: Any, **named: Any) -> psycopg.AsyncConnection[Any]:
        made.append(await connect(cls, *arguments, **named))
        return made[-1]

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", classmethod(note))
    async with asynccontextmanager(open_)(make_settings4()):
        await until(lambda: bool(made))

        given = made[0].info.get_parameters()

    assert {name: given.get(name) for name in EXPECTED} == EXPECTED


async def test_keepalive_options_of_the_url_are_kept(make_settings4: Callable[..., Settings]) -> None:
    address = make_settings4().database_url
    own = f"{address}{'&' if '?' in address else '?'}keepalives_idle=60"

    async with create_pool(make_settings4(database_url=own)) as pool, pool.connection() as connection:
        given = connection.info.get_parameters()

    assert {name: given.get(name) for name in EXPECTED} == EXPECTED | {"keepalives_idle": "60"}


EXPECTED = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
