"""Connections to the primary server of a group, which Sentinels or the nodes of a cluster name.

Each connection asks for the primary when it connects, and closes itself when its server is none any more. So a failover
looks like a short outage, after which the client library connects to the new primary.

In a cluster, all keys of the service lie in one hash slot, because scripts and transactions use several keys at once:
a cluster adds failover, and no capacity. Other services can have other slots.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.redis.address import RedisAddress

_ASK_SECONDS = 1.0  # for the answer of one Sentinel or node
_NO_PRIMARY = (ReadOnlyError, MovedError, AskError, TryAgainError, ClusterDownError, MasterDownError)

_OF_THE_PRIMARY = ("connection_class", "db", "host", "port")

Place = tuple[str, int]  # host and port
FindPrimary = Callable[[], Awaitable[Place]]


class _PrimaryConnection(Connection):
    def __init__(self, *, find_primary: FindPrimary, **options: Any) -> None:
        super().__init__(**options)
        self._find_primary = find_primary

    async def _connect(self) -> None:
        self.host, self.port = await self._find_primary()
        await super()._connect()  # type: ignore[no-untyped-call]  # redis has no types here

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  any reply
        """Read a reply; a refusal because the server is not the primary is a lost connection."""
        try:
            return await super().read_response(*arguments, **options)
        except _NO_PRIMARY as error:
            await self.disconnect()
            raise RedisConnectionError("The server is not the primary any more.") from error


class _PrimarySSLConnection(_PrimaryConnection, SSLConnection):
    pass


def primary_connections(address: RedisAddress, connection: Mapping[str, Any], key_prefix: str) -> dict[str, Any]:
    """Return the parameters of a pool whose connections find the primary of an address.

    Args:
        connection: Parameters of a connection to a single server.
        key_prefix: Prefix of the service's keys.
    """
    encrypted = connection.get("connection_class") is SSLConnection
    finding = {name: value for name, value in connection.items() if name not in _OF_THE_PRIMARY} | {
        "ssl": encrypted,
        "socket_timeout": _ASK_SECONDS,
        "socket_connect_timeout": _ASK_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    if address.topology == "sentinel":
        find_primary = _by_sentinels(address, finding | address.sentinel_credentials)
    else:
        find_primary = _by_cluster(address, finding, key_slot(key_prefix.encode()))
    return {
        **connection,
        "connection_class": _PrimarySSLConnection if encrypted else _PrimaryConnection,
        "find_primary": find_primary,
    }


def _by_sentinels(address: RedisAddress, options: dict[str, Any]) -> FindPrimary:
    sentinel = Sentinel(address.places, sentinel_kwargs=options)  # type: ignore[no-untyped-call]  # redis has no types

    async def find() -> Place:
        host, port = await sentinel.discover_master(address.service)
        return host, int(port)

    return find


def _by_cluster(address: RedisAddress, options: dict[str, Any], slot: int) -> FindPrimary:
    nodes = list(address.places)  # and those that they have named

    async def find() -> Place:
        cause: Exception | None = None
        for host, port in list(nodes):
            try:
                async with Redis(host=host, port=port, **options) as node:
                    ranges = await node.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]  # likewise
            except (RedisError, OSError) as error:
                cause = error
                continue
            for first, last, *servers in ranges:
                # A node that does not know its own name sends none: it has the one under which it was asked.
                places = [((name or b"").decode() or host, number) for name, number, *_ in servers]
                nodes.extend(place for place in places if place not in nodes)
                if first <= slot <= last:
                    return places[0]  # the others are replicas
        raise RedisConnectionError("No node of the cluster names a primary.") from cause

    return find
