"""How often somebody may ask: counted in Redis for all processes together, in one call, with Redis's own clock.

The window moves: whenever one looks, no more than so many requests were let in within the seconds before. `limits`
counts so too, but takes two calls for what the answer's headers say. It counts where Redis is away: then each process
counts for itself, and the limit is as many times wider as there are processes.
"""

import os
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import time

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from loguru import logger

from shared.errors import TooManyRequests
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

_IPV6_NETWORK_BITS = 64  # of its own address space everyone has that much: one address more costs nothing


@dataclass(frozen=True)
class RateLimit:
    """So many in so many seconds.

    Attributes:
        name: What is counted; each name is counted apart.
        amount: How many.
        seconds: In how many seconds.
    """

    name: str
    amount: int
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """A request that was counted.

    Attributes:
        limit: Against which limit.
        allowed: Whether it is within it; what is not takes no place in the window.
        remaining: How many more are.
        reset: Seconds until one of them is forgotten.
        stamp: What stands under the name that was asked for beside; None where Redis is away.
    """

    limit: RateLimit
    allowed: bool
    remaining: int
    reset: int
    version: bytes | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that say so, as draft-ietf-httpapi-ratelimit-headers-06 names them."""
        return {
            "RateLimit-Limit": str(self.limit.amount),
            "RateLimit-Policy": f"{self.limit.amount};w={self.limit.seconds}",
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }

    def check(self) -> None:
        """Let it pass.

        Raises:
            TooManyRequests: if it is one too many.
        """
        if not self.allowed:
            detail = f"More than {self.limit.amount} in {_span(self.limit.seconds)}. Try again in {self.reset} seconds."
            raise TooManyRequests(detail, retry_after=self.reset, headers=self.headers())


def _span(seconds: int) -> str:
    if seconds % 60:
        return f"{seconds} seconds"
    return "a minute" if seconds == 60 else f"{seconds // 60} minutes"


class RateLimiter:
    """Counts requests.

    Args:
        client: Of Redis.

    Attributes:
        let_in: Requests of this process that were within their limit.
        refused: Those that were not.
        counted_alone: How many of both were counted without Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self._redis = client
        self._script = client.register_script(_COUNT)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._outage = CircuitBreaker("shared rate limits", fallback="each process counts its own requests")
        self.allowed = self.rejected = self.counted_locally = 0

    async def count(self, limit: RateLimit, key: str, stamp: str = "") -> RateLimitResult:
        """Count a request.

        Args:
            limit: Against this limit.
            key: Whose it is.
            stamp: The name of a stamp that is read in the same call, and made where there is none.
        """
        counted = await self._count_in_redis(limit, key, stamp) if self._outage.allow() else None
        if counted is None:
            self.counted_locally += 1
            counted = await self._count_locally(limit, key)
        if counted.allowed:
            self.allowed += 1
        else:
            self.rejected += 1
        return counted

    async def reset(self, limit: RateLimit, key: str) -> None:
        """Forget what was counted."""
        await self._own.clear(_item(limit), key)
        try:
            await self._redis.delete(self._redis.key(_name(limit, key)))
        except REDIS_ERRORS as error:
            logger.warning("what was counted is remembered for longer: {}", type(error).__name__)

    async def _count_in_redis(self, limit: RateLimit, key: str, stamp: str) -> RateLimitResult | None:
        keys = [self._redis.key(name) for name in (_name(limit, key), *([stamp] if stamp else []))]
        try:
            allowed, remaining, reset, stands = await self._script(
                keys=keys, args=[limit.amount, limit.seconds, new_version() if stamp else b"", VERSION_SECONDS]
            )
        except REDIS_ERRORS as error:
            self._outage.record_failure(error)
            return None
        self._outage.record_success()
        return RateLimitResult(limit, bool(allowed), remaining, max(1, reset), stands or None)

    async def _count_locally(self, limit: RateLimit, key: str) -> RateLimitResult:
        item = _item(limit)
        allowed = await self._own.hit(item, key)
        free_at, remaining = await self._own.get_window_stats(item, key)
        return RateLimitResult(limit, allowed, remaining, max(1, ceil(free_at - time())))


VERSION_SECONDS = 60


def new_version() -> bytes:
    """Return a stamp that there never was."""
    return os.urandom(12)


def _item(limit: RateLimit) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(limit.amount, limit.seconds, limit.name)


def _name(limit: RateLimit, key: str) -> str:
    return f"limit:{limit.name}:{key}"


# The window is a list of moments, the latest first. A member that is over is dropped when somebody looks.
_COUNT = """
local amount, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
while oldest and oldest <= now - seconds do
    redis.call('RPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
end
local count = redis.call('LLEN', KEYS[1])
local allowed = count < amount and 1 or 0
if allowed == 1 then
    redis.call('LPUSH', KEYS[1], string.format('%.6f', now))
    redis.call('EXPIRE', KEYS[1], seconds)
    count = count + 1
end
local stamp = KEYS[2] and redis.call('GET', KEYS[2])
if KEYS[2] and not stamp then
    stamp = ARGV[3]
    redis.call('SET', KEYS[2], stamp, 'EX', ARGV[4])
end
return {allowed, amount - count, math.ceil((oldest or now) + seconds - now), stamp or ''}
"""


def client_network(address: str) -> str:
    """Return what an address is counted as: itself, or the network of an IPv6 address.

    One of IPv4 is that also where a proxy that listens on both writes it as one of IPv6 (`::ffff:192.0.2.1`).
    """
    try:
        parsed = ip_address(address)
    except ValueError:  # behind a proxy that names none
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> (128 - _IPV6_NETWORK_BITS))
    return str(parsed)
