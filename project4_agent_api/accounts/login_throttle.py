"""Limits on guessing passwords: attempts per account, and attempts per client address."""

from hashlib import sha256
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from project4_agent_api.core.rate_limits import RateLimit, RateLimiter, client_network
from project4_agent_api.core.state import from_state

_FAILURE_WINDOW_SECONDS = 15 * 60


class LoginThrottle:
    """Counts attempts to sign in or to register.

    Args:
        rate_limiter: Counts them.
        failures: Wrong passwords for one account within 15 minutes.
        per_minute: Attempts from one address.
    """

    def __init__(self, rate_limiter: RateLimiter, *, failures: int, per_minute: int) -> None:
        self._rate_limiter = rate_limiter
        self._per_account = RateLimit("failures", failures, _FAILURE_WINDOW_SECONDS)
        self._per_address = RateLimit("attempts", per_minute)

    async def count_address(self, address: str, path: str) -> None:
        """Count an attempt from an address. Each path has its own count.

        Raises:
            TooManyRequests: if the limit is exceeded.
        """
        (await self._rate_limiter.count(self._per_address, f"{path}:{client_network(address)}")).check()

    async def count_account(self, target: UUID | str) -> None:
        """Count an attempt on an account before its password is verified, so that parallel attempts count too.

        Args:
            target: Id of the account, which does not change with its e-mail; the e-mail if no account has it.

        Raises:
            TooManyRequests: if too many attempts have failed.
        """
        (await self._rate_limiter.count(self._per_account, _key(target))).check()

    async def reset_account(self, target: UUID | str) -> None:
        """Reset the count of an account after a correct password."""
        await self._rate_limiter.reset(self._per_account, _key(target))


def _key(target: UUID | str) -> str:
    """Return a key for Redis. An e-mail is hashed, so that Redis stores none."""
    return str(target) if isinstance(target, UUID) else sha256(target.lower().encode()).hexdigest()


LoginThrottleDep = Annotated[LoginThrottle, Depends(from_state(LoginThrottle))]
