"""The Redis client (Valkey speaks the same protocol), and its failures as errors of the service."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, cast

from loguru import logger
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import RedisUnavailable
from shared.health import Check, Checks
from shared.redis.address import redis_address
from shared.redis.discovery import primary_connections

_CONNECT_SECONDS = 2.0
_RESPONSE_SECONDS = 2.0
_PROBE_SECONDS = 1.0
_MAX_CONNECTIONS = 32  # a command occupies one for a fraction of a millisecond
_POOL_TIMEOUT_SECONDS = 5.0
# Detect a host that disappeared within half a minute, even on connections that only listen.
_KEEPALIVE = (
    {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3} if sys.platform == "linux" else {}
)
# Raised by the client library when the server is unreachable or frozen.
REDIS_UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, OSError)
# Also raised when the server is reachable but refuses a command: out of memory, or a read-only replica.
REDIS_ERRORS = (RedisError, OSError)


class RedisSettings(Protocol):
    """Settings of a Redis client."""

    @property
    def redis_url(self) -> str:
        """Address of the server."""

    @property
    def redis_names(self) -> str:
        """Prefix of every key and channel."""


class RedisClient(Redis):
    """A client of a server that is shared with other services.

    Attributes:
        key_prefix: Prefix of every key and channel of this service. A database number does not separate channels, so
            they need the prefix too.
    """

    key_prefix = ""

    def key(self, name: str) -> str:
        """Return the full name of a key or channel of this service."""
        return f"{self.key_prefix}:{name}"


def create_redis(settings: RedisSettings, *, response_timeout: float | None = _RESPONSE_SECONDS) -> RedisClient:
    """Create a client and its pool without connecting. The caller closes it.

    Args:
        response_timeout: Seconds; None for connections that wait for messages.
    """
    # A blocking pool queues commands when all connections are busy; the other kind raises a connection error, which
    # looks like an outage.
    address = redis_address(settings.redis_url)
    keepalive = (
        {} if address.url.startswith("unix:") else {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    )
    connection: dict[str, Any] = {
        **parse_url(address.url),
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": response_timeout,
        **keepalive,
        "retry": Retry(NoBackoff(), 1),  # the server may have closed a pooled connection while it was idle
        "protocol": 2,  # RESP2 delivers channel messages as ordinary replies
    }
    # In a cluster, the braces put all keys into one hash slot.
    prefix = f"{{{settings.redis_names}}}" if address.topology == "cluster" else settings.redis_names
    if address.topology != "server":
        connection = primary_connections(address, connection, prefix)
    pool = BlockingConnectionPool(max_connections=_MAX_CONNECTIONS, timeout=_POOL_TIMEOUT_SECONDS, **connection)
    client = cast("RedisClient", RedisClient.from_pool(pool))  # annotated as `Redis`
    client.key_prefix = prefix
    return client


@asynccontextmanager
async def open_redis(settings: RedisSettings, checks: Checks) -> AsyncIterator[RedisClient]:
    """Open the client of a process while the block runs, and register its readiness check."""
    client = create_redis(settings)

    async def is_reachable() -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await client.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    checks.append(Check("redis", is_reachable))
    try:
        yield client
    finally:
        await client.aclose()


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise `RedisUnavailable` if the server is unreachable or frozen. Other errors pass through."""
    try:
        yield
    except REDIS_UNAVAILABLE as error:
        logger.warning("Redis unavailable: {}", type(error).__name__)
        raise RedisUnavailable("Redis cannot be reached. Try again shortly.") from error
