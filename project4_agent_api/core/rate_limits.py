"""Rate limits, counted in Redis for all processes together: one call for each request, by Redis's clock.

The window is a moving one: at any time, at most `amount` requests were allowed within the last `seconds`. The library
`limits` has the same window, but needs two calls to fill the response headers. It counts while Redis is unavailable:
each process then counts its own requests, so the effective limit is multiplied by the number of processes.

The cost of a request is known only when it has been served. It is charged with the user's next request at the same
process, to a level that falls steadily by the limit in a minute. Requests are refused while the level is above the
limit.
"""

import os
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic, time

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from project4_agent_api.core.request_costs import RequestCost
from shared.errors import Limit, TooManyRequests
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_ERRORS, RedisClient

_HEAVY = 0.1  # part of the seconds of work
_IPV6_NETWORK_BITS = 64  # the usual size of one customer's network, in which addresses are free


@dataclass(frozen=True)
class CostLimits:
    """Limits on the cost of one client's requests in a minute. Zero is no limit.

    Attributes:
        size: Bytes.
    """

    size: int = 0
    seconds: float = 0


@dataclass(frozen=True)
class RateLimit:
    """At most `amount` requests in `seconds`. Each name has its own counts.

    Attributes:
        setting: The setting of the amount, in lower case.
        costs: Limits on the cost of the requests.
    """

    name: str
    amount: int
    seconds: int = 60
    setting: str = "rate_limit_per_minute"
    costs: CostLimits = CostLimits()

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
        reset: Seconds until the oldest request leaves the window, or until the costs are below their limit.
        version: Value of the version key that was read in the same call; None if Redis was unavailable.
        exceeded: The limit on costs that is exceeded.
        work: The client's seconds of work that are not paid off yet.
    """

    limit: RateLimit
    allowed: bool
    remaining: int
    reset: int
    version: bytes | None = None
    exceeded: Limit | None = None
    work: float = 0

    @property
    def is_heavy(self) -> bool:
        """Whether the client has caused much of the work that it may."""
        return self.limit.costs.seconds > 0 and self.work >= _HEAVY * self.limit.costs.seconds

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
        if self.allowed:
            return
        limit = self.exceeded or Limit(self.limit.setting, self.limit.amount, self.limit.amount)
        detail = f"Limit exceeded: {limit.maximum:,} {_COUNTED[limit.name]} in {_period(self.limit.seconds)}."
        raise TooManyRequests(
            f"{detail} Try again in {self.reset} seconds.", retry_after=self.reset, headers=self.headers(), limit=limit
        )


_SIZE, _SECONDS = "rate_limit_mb_per_minute", "rate_limit_seconds_per_minute"
_COUNTED = {  # what each setting limits
    RateLimit.setting: "requests",
    _SIZE: "bytes",
    _SECONDS: "seconds of work",
    "sign_ins_per_minute": "attempts",
    "sign_in_failures": "wrong passwords",
}


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
        self._uncharged: dict[str, tuple[float, RequestCost]] = {}  # with the time of the last one, oldest first
        self.allowed = self.rejected = self.counted_locally = 0

    def charge(self, limit: RateLimit, key: str, cost: RequestCost) -> None:
        """Charge the cost of a request with the client's next request."""
        name, now = _name(limit, key), monotonic()
        _, total = self._uncharged.pop(name, (now, RequestCost()))
        total.add(cost)
        self._uncharged[name] = (now, total)
        while now - self._uncharged[oldest := next(iter(self._uncharged))][0] > limit.seconds:
            del self._uncharged[oldest]  # of a client that sends no more requests here

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
        name = _name(limit, key)
        names = (name, f"{name}:costs", *([version_key] if version_key else []))
        _, cost = self._uncharged.pop(name, (0, RequestCost()))
        size, seconds = limit.costs.size, limit.costs.seconds
        version = new_version() if version_key else b""
        try:
            outcome, remaining, reset, version, *levels = await self._script(
                keys=[self.client.key(name) for name in names],
                args=[limit.amount, limit.seconds, version, VERSION_SECONDS, cost.size, cost.seconds, size, seconds],
            )
        except REDIS_ERRORS as error:
            self._breaker.record_failure(error)
            self.charge(limit, key, cost)
            return None
        self._breaker.record_success()
        exceeded = None
        if outcome > 1:
            name, maximum = ((_SIZE, size), (_SECONDS, seconds))[outcome - 2]
            exceeded = Limit(name, int(maximum), int(levels[outcome - 2]))
        work = levels[1]
        return RateLimitResult(limit, outcome == 0, remaining, max(1, reset), version or None, exceeded, work)

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


# The window is a list of timestamps, newest first. Each call removes those that have left the window. The outcome is 0,
# or the number of the exceeded limit: requests, bytes, seconds.
_WINDOW = """
local amount, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
while oldest and oldest <= now - seconds do
    redis.call('RPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], -1))
end
local count = redis.call('LLEN', KEYS[1])
local outcome = count < amount and 0 or 1
local reset = (oldest or now) + seconds - now
"""
_COSTS = """
local costs, limits = {tonumber(ARGV[5]), tonumber(ARGV[6])}, {tonumber(ARGV[7]), tonumber(ARGV[8])}
local stored = redis.call('HMGET', KEYS[2], 'at', '1', '2')
local elapsed = now - (tonumber(stored[1]) or now)
local levels, fallen = {0, 0}, 0
for i, limit in ipairs(limits) do
    if limit > 0 then
        levels[i] = math.max(0, (tonumber(stored[i + 1]) or 0) - elapsed * limit / seconds) + costs[i]
        fallen = math.max(fallen, levels[i] / limit * seconds)
        if levels[i] >= limit and outcome ~= 1 then
            outcome, reset = i + 1, (levels[i] / limit - 1) * seconds
        end
    end
end
if fallen > 0 then
    redis.call('HSET', KEYS[2], 'at', string.format('%.6f', now), '1', string.format('%.0f', levels[1]),
        '2', string.format('%.6f', levels[2]))
    redis.call('EXPIRE', KEYS[2], math.ceil(fallen))
end
"""
_RECORD = """
if outcome == 0 then
    redis.call('LPUSH', KEYS[1], string.format('%.6f', now))
    redis.call('EXPIRE', KEYS[1], seconds)
    count = count + 1
end
"""
_VERSION = """
local version = KEYS[3] and redis.call('GET', KEYS[3])
if KEYS[3] and not version then
    version = ARGV[3]
    redis.call('SET', KEYS[3], version, 'EX', ARGV[4])
end
return {outcome, amount - count, math.ceil(reset), version or '', levels[1], levels[2]}
"""
_COUNT = _WINDOW + _COSTS + _RECORD + _VERSION  # one script, so one atomic step


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
