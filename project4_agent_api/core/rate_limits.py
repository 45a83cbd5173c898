"""Rate limits, counted in Redis for all processes together: one call for each request, by Redis's clock.

The window is a moving one: at any time, at most `amount` requests were allowed within the last `seconds`. The library
`limits` has the same window, but needs two calls to fill the response headers. It counts while Redis is unavailable:
each process then counts its own requests, so the effective limit is multiplied by the number of processes.
"""

import os
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import time

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from shared.errors import TooManyRequests
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

_IPV6_NETWORK_BITS = 64  # the usual size of one customer's network, in which addresses are free


@dataclass(frozen=True)
class RateLimit:
    """At most `amount` requests in `seconds`. Each name has its own counts."""

    name: str
    amount: int
    seconds: int = 60

    @property
    def item(self) -> RateLimitItemPerSecond:
        """The limit as the library `limits` expresses it."""
        return RateLimitItemPerSecond(self.amount, self.seconds, self.name)


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """The result of counting a request.

    Attributes:
        allowed: Whether the request is within the limit. Rejected requests do not count.
        remaining: Requests that are still allowed now.
        reset: Seconds until the oldest request leaves the window.
        version: Value of the version key that was read in the same call; None if Redis was unavailable.
    """

    limit: RateLimit
    allowed: bool
    remaining: int
    reset: int
    version: bytes | None = None

    def headers(self) -> dict[str, str]:
        """Return the response headers of draft-ietf-httpapi-ratelimit-headers-06."""
        return {
            "RateLimit-Limit": str(self.limit.amount),
            "RateLimit-Policy": f"{self.limit.amount};w={self.limit.seconds}",
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }

    def check(self) -> None:
        """Raise an error if the request is not allowed.

        Raises:
            TooManyRequests: with the headers and the seconds to wait.
        """
        if not self.allowed:
            limit = f"{self.limit.amount} in {_period(self.limit.seconds)}"
            detail = f"Limit exceeded: {limit}. Try again in {self.reset} seconds."
            raise TooManyRequests(detail, retry_after=self.reset, headers=self.headers())


def _period(seconds: int) -> str:
    if seconds % 60:
        return f"{seconds} seconds"
    return "a minute" if seconds == 60 else f"{seconds // 60} minutes"


class RateLimiter:
    """Counts requests against their limits.

    Attributes:
        client: The connection to Redis.
        allowed: Requests of this process within their limit.
        rejected: Requests of this process beyond their limit.
        counted_locally: Requests among both that were counted without Redis.
    """

    def __init__(self, client: RedisClient) -> None:
        self.client = client
        self._script = client.register_script(_COUNT)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._breaker = CircuitBreaker("shared rate limits", fallback="each process counts its own requests")
        self.allowed = self.rejected = self.counted_locally = 0

    async def count(self, limit: RateLimit, key: str, version_key: str = "") -> RateLimitResult:
        """Count a request.

        Args:
            limit: The limit to count against.
            key: Identifies the client.
            version_key: Key of a version to read in the same call. A missing version is created.
        """
        counted = await self._count_in_redis(limit, key, version_key) if self._breaker.allow() else None
        if counted is None:
            self.counted_locally += 1
            counted = await self._count_locally(limit, key)
        if counted.allowed:
            self.allowed += 1
        else:
            self.rejected += 1
        return counted

    async def _count_in_redis(self, limit: RateLimit, key: str, version_key: str) -> RateLimitResult | None:
        keys = [self.client.key(name) for name in (_name(limit, key), *([version_key] if version_key else []))]
        try:
            allowed, remaining, reset, version = await self._script(
                keys=keys, args=[limit.amount, limit.seconds, new_version() if version_key else b"", VERSION_SECONDS]
            )
        except REDIS_ERRORS as error:
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return RateLimitResult(limit, bool(allowed), remaining, max(1, reset), version or None)

    async def _count_locally(self, limit: RateLimit, key: str) -> RateLimitResult:
        allowed = await self._local.hit(limit.item, key)
        resets_at, remaining = await self._local.get_window_stats(limit.item, key)
        return RateLimitResult(limit, allowed, remaining, max(1, ceil(resets_at - time())))


VERSION_SECONDS = 60


def new_version() -> bytes:
    """Return a random version, which no account has had before."""
    return os.urandom(12)


def _name(limit: RateLimit, key: str) -> str:
    return f"limit:{limit.name}:{key}"


# The window is a list of timestamps, newest first. Each call removes those that have left the window.
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
local version = KEYS[2] and redis.call('GET', KEYS[2])
if KEYS[2] and not version then
    version = ARGV[3]
    redis.call('SET', KEYS[2], version, 'EX', ARGV[4])
end
return {allowed, amount - count, math.ceil((oldest or now) + seconds - now), version or ''}
"""


def client_network(address: str) -> str:
    """Return an address as it is counted: an IPv4 address as it is, an IPv6 address as its network.

    A proxy that listens on both writes IPv4 addresses as IPv6 (`::ffff:192.0.2.1`); they are counted as IPv4.
    """
    try:
        parsed = ip_address(address)
    except ValueError:  # a proxy passes no client address
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> (128 - _IPV6_NETWORK_BITS))
    return str(parsed)
