"""The principals behind tokens and API keys, cached in each process and invalidated in all of them at once.

Redis holds a random version for each account, which is read in the same call that counts a request. A cached principal
is valid while that version is the one read before PostgreSQL was queried, and for at most `TTL_SECONDS`. A change of an
account deletes the version after its commit and before its response, which invalidates the principal in every process.
If Redis is unavailable, the response waits until every cached copy has expired.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

from loguru import logger

from project4_agent_api.accounts.principals import Principal
from project4_agent_api.core.rate_limits import VERSION_SECONDS, new_version
from project4_agent_api.core.redis_cache import CacheCounters
from shared.errors import Unauthorized
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

TTL_SECONDS = 5.0
_MAX_ENTRIES = 10_000  # tokens and keys in one process; an entry takes about 1 kB

# Queries PostgreSQL for a principal, and for how many seconds it is valid.
Query = Callable[[], Coroutine[Any, Any, tuple[Principal, float]]]


@dataclass(frozen=True, slots=True)
class CachedPrincipal:
    """The principal behind a token or a key.

    Attributes:
        principal: As PostgreSQL returned it.
        version: Version of the account before the query; None if Redis was unavailable.
        expires_at: On the monotonic clock.
    """

    principal: Principal
    version: bytes | None
    expires_at: float

    def is_valid(self, version: bytes | None) -> bool:
        """Return whether the principal may be used while the account has this version."""
        return version is not None and version == self.version and monotonic() < self.expires_at


@dataclass(frozen=True, slots=True)
class _Load:
    task: "asyncio.Task[Principal]"
    expires_at: float


class PrincipalCache:
    """Principals of this process, by credential.

    Attributes:
        counters: Hits and misses.
    """

    def __init__(self, client: RedisClient) -> None:
        self._redis = client
        self._entries: OrderedDict[str, CachedPrincipal] = OrderedDict()
        self._loads: dict[tuple[str, bytes], _Load] = {}
        self._breaker = CircuitBreaker("cached principals", fallback="each request reads its account from PostgreSQL")
        self.counters = CacheCounters()

    def get(self, credential: str) -> CachedPrincipal | None:
        """Return the entry of a credential, valid or not."""
        return self._entries.get(credential)

    def discard(self, credential: str) -> None:
        """Remove the entry of a credential."""
        self._entries.pop(credential, None)

    async def load(self, credential: str, version: bytes | None, query: Query) -> Principal:
        """Query PostgreSQL and cache the result. Concurrent loads of one credential share a query.

        Without that, a busy account takes every connection of the pool each time its entry expires.

        Args:
            credential: Key of the entry.
            version: Current version of the account; None if it is unknown.
            query: Returns the principal and the seconds for which it is valid.

        Raises:
            Unauthorized: if the credential is not valid.
        """
        if version is None:
            return await self._load(credential, version, query)
        load = self._loads.get((credential, version))
        # Version and expiry bound the age of a shared result as they bound the age of a cached one.
        if load is None or monotonic() >= load.expires_at:
            task = asyncio.create_task(self._load(credential, version, query))
            load = self._loads[credential, version] = _Load(task, monotonic() + TTL_SECONDS)
            task.add_done_callback(partial(self._finish_load, (credential, version)))
        return await asyncio.shield(load.task)  # the first caller may disconnect before the result arrives

    async def _load(self, credential: str, version: bytes | None, query: Query) -> Principal:
        started = monotonic()
        try:
            principal, seconds = await query()
        except Unauthorized:
            self.discard(credential)
            raise
        self._entries[credential] = CachedPrincipal(principal, version, started + min(TTL_SECONDS, seconds))
        self._entries.move_to_end(credential)
        if len(self._entries) > _MAX_ENTRIES:
            self._entries.popitem(last=False)
        return principal

    def _finish_load(self, key: tuple[str, bytes], task: "asyncio.Task[Principal]") -> None:
        load = self._loads.get(key)
        if load and load.task is task:
            del self._loads[key]

    async def current_version(self, account_id: UUID) -> bytes | None:
        """Return the version of an account, a new one if there is none; None if Redis is unavailable."""
        if not self._breaker.allow():
            return None
        key = self._redis.key(version_key(account_id))
        try:
            async with self._redis.pipeline() as pipeline:
                pipeline.set(key, new_version(), nx=True, ex=VERSION_SECONDS)
                pipeline.get(key)
                _, version = await pipeline.execute()
        except REDIS_ERRORS as error:
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return bytes(version)

    async def invalidate(self, account_id: UUID) -> None:
        """Invalidate an account in all processes: after the commit of a change, and before its response."""
        await invalidate_account(self._redis, account_id)


async def invalidate_account(client: RedisClient, account_id: UUID) -> None:
    """Invalidate an account in all processes, and return when it is invalid everywhere."""
    try:
        await client.delete(client.key(version_key(account_id)))
    except REDIS_ERRORS as error:
        logger.warning(
            "Redis unavailable ({}); the change of an account takes effect in {} s", type(error).__name__, TTL_SECONDS
        )
        await asyncio.sleep(TTL_SECONDS)


def version_key(account_id: UUID) -> str:
    """Return the name of an account's version in Redis."""
    return f"account:{account_id}"
