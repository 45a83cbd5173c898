"""A listener whose connection breaks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import psycopg
import pytest
from loguru import logger

from shared.database.driver import PrimaryConnection
from shared.jobs import notifications
from shared.jobs.notifications import NotificationListener
from tests.support.until import until


@dataclass(frozen=True)
class Settings:
    """Settings of the database."""

    database_url: str = "postgresql://h/d"
    db_pool_size: int = 1
    database_session_url: str | None = None
    db_pool_timeout_seconds: float = 3
    db_connect_timeout_seconds: int = 2
    db_statement_timeout_seconds: float = 5


class BreakingConnection:
    """A connection that breaks after LISTEN."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def execute(self, _: object) -> None: ...

    def notifies(self, **_: object) -> None:
        raise psycopg.OperationalError


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The warnings that are logged."""
    logged: list[str] = []
    sink = logger.add(lambda message: logged.append(message.record["message"]), level="WARNING")
    yield logged
    logger.remove(sink)


async def test_each_outage_is_logged_once(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    async def connect(*_: object, **__: object) -> BreakingConnection:
        nonlocal attempts
        attempts += 1
        if attempts == 4:
            return BreakingConnection()
        raise psycopg.OperationalError

    monkeypatch.setattr(PrimaryConnection, "connect", connect)
    monkeypatch.setattr(notifications, "_RECONNECT_SECONDS", 0)
    async with NotificationListener(Settings(), "news").listen():
        await until(lambda: attempts > 8)

    assert lines == ["notifications of news interrupted (OperationalError); reconnecting"] * 2
