"""Guessing is slow: how often a password may be tried, for one account and from one address.

Counted in Redis for all processes together. While that is away each process counts for itself: nobody is kept from
signing in, and guessing is as slow as that times the number of processes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import time
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from loguru import logger

from shared.errors import TooManyRequests
from shared.redis import REDIS_AWAY, Client

_FAILURES_MINUTES = 15  # until a failure is forgotten
_IPV6_NETWORK_BITS = 64  # of its own address space everyone has that much: one address more costs nothing


class Attempts:
    """Counts attempts.

    Args:
        client: Of Redis.
        failures: Wrong passwords of an account in a quarter of an hour, before it takes no more for a while.
        per_minute: Attempts from one address.
    """

    def __init__(self, client: Client, *, failures: int, per_minute: int) -> None:
        connections: Any = client.connection_pool  # more than the library's types know of; the address goes unused
        shared = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix=client.key("attempts"), connection_pool=connections
        )
        self._limiters = MovingWindowRateLimiter(shared), MovingWindowRateLimiter(MemoryStorage())
        self._of_account = RateLimitItemPerMinute(failures, _FAILURES_MINUTES, "account")
        self._from_address = RateLimitItemPerMinute(per_minute, namespace="address")

    async def from_address(self, address: str, what: str) -> None:
        """Count an attempt.

        Args:
            address: Where it comes from.
            what: Attempts at different things are counted apart.

        Raises:
            TooManyRequests: if there were too many.
        """
        await self._count(self._from_address, what, _network(address))

    async def at_account(self, email: str) -> None:
        """Count an attempt at a password, before it is looked at: a hundred at once are a hundred.

        Raises:
            TooManyRequests: if too many have failed.
        """
        await self._count(self._of_account, _name(email))

    async def succeeded(self, email: str) -> None:
        """Forget the failures: the last attempt was right."""
        shared, own = self._limiters
        await own.clear(self._of_account, _name(email))
        try:
            await shared.clear(self._of_account, _name(email))
        except REDIS_AWAY as error:
            logger.warning("failures are remembered for longer: {}", type(error).__name__)

    async def _count(self, limit: RateLimitItem, *key: str) -> None:
        shared, own = self._limiters
        try:
            await _hit(shared, limit, *key)
        except REDIS_AWAY as error:
            logger.warning("attempts are counted by this process alone: {}", type(error).__name__)
            await _hit(own, limit, *key)


async def _hit(limiter: MovingWindowRateLimiter, limit: RateLimitItem, *key: str) -> None:
    if await limiter.hit(limit, *key):
        return
    free_at, _ = await limiter.get_window_stats(limit, *key)
    seconds = max(1, ceil(free_at - time()))
    raise TooManyRequests(f"Too many attempts. Try again in {seconds} seconds.", retry_after=seconds)


def _name(email: str) -> str:
    """Return an e-mail's place in Redis, which is to know no e-mails."""
    return sha256(email.lower().encode()).hexdigest()


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:  # behind a proxy that names none
        return address
    if isinstance(parsed, IPv6Address):
        return str(int(parsed) >> (128 - _IPV6_NETWORK_BITS))
    return str(parsed)


async def get_attempts(request: Request) -> Attempts:
    """Return what counts attempts."""
    attempts: Attempts = request.app.state.attempts
    return attempts


AttemptsDep = Annotated[Attempts, Depends(get_attempts)]


@asynccontextmanager
async def attempts(app: FastAPI) -> AsyncIterator[None]:
    """Put what counts attempts on `app.state`."""
    settings = app.state.settings
    app.state.attempts = Attempts(
        app.state.redis, failures=settings.sign_in_failures, per_minute=settings.sign_ins_per_minute
    )
    yield
