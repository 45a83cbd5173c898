"""A cache in Redis. If Redis is unavailable, or a value cannot be read, everything is a miss."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import orjson

from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

_FLIGHT_TIMEOUT_SECONDS = 30.0  # a slow client of the first request may hold up the others
T = TypeVar("T")


@dataclass
class CacheCounters:
    """Hits and misses of a cache in this process."""

    hits: int = 0
    misses: int = 0


class RedisCache:
    """A cache of one kind of value.

    Args:
        kind: Part of every key.
        breaker: Shared by all caches on the same Redis.
    """

    def __init__(self, client: RedisClient, kind: str, seconds: int, breaker: CircuitBreaker) -> None:
        self.counters = CacheCounters()
        self._redis = client
        self._kind = kind
        self._seconds = seconds
        self._breaker = breaker
        self._flights: dict[str, _Flight] = {}

    def key(self, *parts: object) -> str:
        """Return the key of a value that depends on these parts and nothing else."""
        digest = sha256(orjson.dumps(parts, default=str)).hexdigest()
        return self._redis.key(f"cache:{self._kind}:{digest}")

    async def get(self, keys: Sequence[str], decode: Callable[[bytes], T]) -> list[T | None]:
        """Return the cached values, with None for each miss."""
        values: Sequence[bytes | str | None] = [None] * len(keys)
        if self._breaker.allow():
            try:
                values = await self._redis.mget(keys)
            except REDIS_ERRORS as error:
                self._breaker.record_failure(error)
            else:
                self._breaker.record_success()
        decoded = [_decode(value, decode) for value in values]
        misses = sum(value is None for value in decoded)
        self.counters.misses += misses
        self.counters.hits += len(decoded) - misses
        return decoded

    async def put(self, values: dict[str, bytes]) -> None:
        """Store values, if Redis is available."""
        if not values or not self._breaker.allow():
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, value in values.items():
                    pipeline.set(key, value, ex=self._seconds)
                await pipeline.execute()
        except REDIS_ERRORS as error:
            self._breaker.record_failure(error)

    @asynccontextmanager
    async def single_flight(self, key: str) -> AsyncIterator[None]:
        """Let one request of this process compute a value while the others wait for its entry."""
        flight = self._flights.setdefault(key, _Flight())
        flight.waiters += 1
        locked = False
        try:
            try:
                async with asyncio.timeout(_FLIGHT_TIMEOUT_SECONDS):
                    locked = await flight.lock.acquire()
            except TimeoutError:
                pass  # this request computes the value too
            yield
        finally:
            if locked:
                flight.lock.release()
            flight.waiters -= 1
            if not flight.waiters:
                self._flights.pop(key, None)


class _Flight:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiters = 0


def _decode(value: bytes | str | None, decode: Callable[[bytes], T]) -> T | None:
    if not isinstance(value, bytes):  # the client decodes no responses
        return None
    try:
        return decode(value)
    except ValueError:  # the base class of ValidationError and JSONDecodeError
        return None
