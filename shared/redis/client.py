"""Redis (or Valkey, which speaks the same protocol): one client for the process, and what its absence means."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Annotated, Protocol, cast

from fastapi import Depends, FastAPI, Request
from loguru import logger
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import RedisUnavailable
from shared.health import Check

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 2.0
_PROBE_SECONDS = 1.0
_CONNECTIONS = 32  # of a client: a command takes a fraction of a millisecond there
_TURN_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
# A server that vanished without a word is noticed within half a minute, also where nothing is asked of it.
_KEEPALIVE = (
    {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3} if sys.platform == "linux" else {}
)
# What a client library raises when the server is away, or frozen.
REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, OSError)
# What it raises too when the server is there, and cannot: it has no memory left, or is a replica.
REDIS_FAILS = (RedisError, OSError)


class RedisSettings(Protocol):
    """What a client needs to be told."""

    @property
    def redis_url(self) -> str:
        """Where the server is."""

    @property
    def redis_names(self) -> str:
        """What every key and channel begins with."""


class Client(Redis):
    """A client of a server that other services may use too.

    Attributes:
        names: What every key and channel of this service begins with. Channels need it even where each service has a
            database of its own on the server: they are heard in all of them.
    """

    names = ""

    def key(self, name: str) -> str:
        """Return a key or channel of this service."""
        return f"{self.names}:{name}"


def create_redis(settings: RedisSettings, *, answer_seconds: float | None = _ANSWER_SECONDS) -> Client:
    """Make a client with its pool, to be closed at the end. Nothing is connected yet.

    Args:
        settings: Where the server is.
        answer_seconds: How long one answer may take; None for connections on which messages are awaited.
    """
    # A command waits for its turn where all connections are in use. (A pool of the other kind says that the server is
    # away, then.)
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=_CONNECTIONS,
        timeout=_TURN_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=answer_seconds,
        socket_keepalive=True,
        socket_keepalive_options=_KEEPALIVE,
        retry=Retry(NoBackoff(), 1),  # once: a pooled connection may have been closed while it was idle
        protocol=2,  # messages of channels are answers like any other, then
    )
    client = cast("Client", Client.from_pool(pool))  # its type says `Redis`
    client.names = settings.redis_names
    return client


@asynccontextmanager
async def redis(app: FastAPI) -> AsyncIterator[None]:
    """Put a client on `app.state`, and its check among the others."""
    client = create_redis(app.state.settings)
    app.state.redis = client

    async def answers() -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await client.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    app.state.checks.append(Check("redis", answers))
    try:
        yield
    finally:
        await client.aclose()


class Outage:
    """Remembers that Redis is away, for what can do without it: not each request finds that out by itself.

    Args:
        meanwhile: What is so until it is back, for the log.
    """

    def __init__(self, meanwhile: str) -> None:
        self._meanwhile = meanwhile
        self._ask_again_at = 0.0
        self._lasts = False

    def ask(self) -> bool:
        """Whether to ask Redis: not just after it was away, because one that is frozen takes seconds to fail."""
        return monotonic() >= self._ask_again_at

    def goes_on(self, error: Exception) -> None:
        """Say that Redis did not answer."""
        self._ask_again_at = monotonic() + _PAUSE_SECONDS
        if not self._lasts:
            logger.warning("Redis is away ({}): {}", type(error).__name__, self._meanwhile)
        self._lasts = True

    def is_over(self) -> None:
        """Say that Redis has answered."""
        if self._lasts:
            logger.info("Redis is back; it is over that {}", self._meanwhile)
        self._lasts = False


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn what a server that is away raises into a `ServiceError`; leave mistakes alone."""
    try:
        yield
    except REDIS_AWAY as error:
        logger.warning("Redis is away: {}", type(error).__name__)
        raise RedisUnavailable("Redis cannot be reached. Try again shortly.") from error


async def get_redis(request: Request) -> Client:
    """Return the client of the app."""
    client: Client = request.app.state.redis
    return client


RedisDep = Annotated[Client, Depends(get_redis)]
