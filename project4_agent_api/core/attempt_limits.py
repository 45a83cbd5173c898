"""Limits on failures of a check that takes a while, such as that of a password.

An attempt reserves its place before the check, so that parallel attempts cannot exceed the limit. After the check, only
a failure is counted. The reservation of an attempt that was interrupted (the client disconnected, the database failed,
the process died) is released, or expires by itself.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from time import time

from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from project4_agent_api.core.rate_limits import RateLimit, RateLimitResult
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

_RESERVED_SECONDS = 60


@dataclass
class Attempt:
    """An attempt that was admitted.

    Attributes:
        correct: Result of the check; None if there is none.
    """

    correct: bool | None = None


class AttemptLimiter:
    """Counts failures in Redis for all processes together, or in each process while Redis is unavailable."""

    def __init__(self, client: RedisClient) -> None:
        self._redis = client
        self._reserve = client.register_script(_NOW + _RESERVE)
        self._settle = client.register_script(_NOW + _SETTLE)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._reserved: Counter[str] = Counter()
        self._breaker = CircuitBreaker("shared counts of failures", fallback="each process counts its own")

    @asynccontextmanager
    async def attempt(self, limit: RateLimit, key: str) -> AsyncIterator[Attempt]:
        """Admit an attempt for the block, which sets `Attempt.correct`. Success clears the counted failures.

        Raises:
            TooManyRequests: if as many attempts have failed or are in progress as the limit allows to fail.
        """
        name = f"limit:{limit.name}:{key}"
        reservation = os.urandom(12)
        result = await self._reserve_in_redis(limit, name, reservation) if self._breaker.allow() else None
        in_redis = result is not None
        if result is None:
            result = await self._reserve_locally(limit, name)
        result.check()
        attempt = Attempt()
        try:
            yield attempt
        finally:
            await asyncio.shield(self._finish(limit, name, attempt.correct, reservation if in_redis else None))

    async def _finish(self, limit: RateLimit, name: str, correct: bool | None, reservation: bytes | None) -> None:
        if reservation is None:
            self._reserved[name] -= 1
            self._reserved += Counter()  # removes zeros
        if correct:
            await self._local.clear(limit.item, name)
        if reservation and self._breaker.allow():
            try:
                await self._settle(keys=self._keys(name), args=[reservation, _OUTCOMES[correct], limit.seconds])
            except REDIS_ERRORS as error:
                self._breaker.record_failure(error)
            else:
                return
        if correct is False:
            await self._local.hit(limit.item, name)

    async def _reserve_in_redis(self, limit: RateLimit, name: str, reservation: bytes) -> RateLimitResult | None:
        try:
            allowed, remaining, reset = await self._reserve(
                keys=self._keys(name), args=[reservation, limit.amount, limit.seconds, _RESERVED_SECONDS]
            )
        except REDIS_ERRORS as error:
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return RateLimitResult(limit, bool(allowed), remaining, max(1, reset))

    async def _reserve_locally(self, limit: RateLimit, name: str) -> RateLimitResult:
        resets_at, remaining = await self._local.get_window_stats(limit.item, name)
        allowed = remaining > self._reserved[name]
        self._reserved[name] += allowed
        reset = 1 if remaining else ceil(resets_at - time())
        return RateLimitResult(limit, allowed, max(0, remaining - self._reserved[name]), max(1, reset))

    def _keys(self, name: str) -> list[str]:
        return [self._redis.key(name), self._redis.key(f"{name}:reserved")]


_OUTCOMES = {None: "none", False: "wrong", True: "correct"}
# The failures are a list of timestamps, newest first; the reservations a sorted set by the time of their start.
_NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""
_RESERVE = """
local amount, seconds, reserved_seconds = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
while oldest and oldest <= now - seconds do
    redis.call('RPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - reserved_seconds)
local failures, reserved = redis.call('LLEN', KEYS[1]), redis.call('ZCARD', KEYS[2])
if failures >= amount then
    return {0, 0, math.ceil(oldest + seconds - now)}
elseif failures + reserved >= amount then
    return {0, 0, 1}
end
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('EXPIRE', KEYS[2], reserved_seconds)
return {1, amount - failures - reserved - 1, 1}
"""
_SETTLE = """
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] == 'wrong' then
    redis.call('LPUSH', KEYS[1], string.format('%.6f', now))
    redis.call('EXPIRE', KEYS[1], ARGV[3])
elseif ARGV[2] == 'correct' then
    redis.call('DEL', KEYS[1])
end
"""
