"""Limits on guessing passwords: wrong ones per account, and attempts per client address."""

from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Annotated, Self
from uuid import UUID

from fastapi import Depends

from project4_agent_api.core.attempt_limits import Attempt, AttemptLimiter
from project4_agent_api.core.rate_limits import RateLimit, RateLimiter, client_network
from project4_agent_api.core.state import from_state
from project4_agent_api.settings import Settings

_FAILURE_WINDOW_SECONDS = 15 * 60


class LoginThrottle:
    """Counts attempts to sign in or to register.

    Args:
        rate_limiter: Counts the attempts in Redis.
        failures: Wrong passwords for one account within 15 minutes, from all unknown networks together, and from each
            network from which the account has signed in.
        per_minute: Attempts from one address.
    """

    def __init__(self, rate_limiter: RateLimiter, *, failures: int, per_minute: int) -> None:
        self._rate_limiter = rate_limiter
        self._attempts = AttemptLimiter(rate_limiter.client)
        self._per_account = RateLimit("failures", failures, _FAILURE_WINDOW_SECONDS, "sign_in_failures")
        self._per_address = RateLimit("attempts", per_minute, setting="sign_ins_per_minute")

    @classmethod
    def from_settings(cls, settings: Settings, rate_limiter: RateLimiter) -> Self:
        """Create the throttle of the settings."""
        return cls(rate_limiter, failures=settings.sign_in_failures, per_minute=settings.sign_ins_per_minute)

    async def count_address(self, address: str, path: str) -> None:
        """Count an attempt from an address. Each path has its own count.

        Raises:
            TooManyRequests: if the limit is exceeded.
        """
        (await self._rate_limiter.count(self._per_address, f"{path}:{client_network(address)}")).check()

    def count_wrong_passwords(
        self, target: UUID | str, known_network: str | None
    ) -> AbstractAsyncContextManager[Attempt]:
        """Admit the check of a password for the block, and count it if the password is wrong. See `AttemptLimiter`.

        Args:
            target: Id of the account, which does not change with its e-mail; the e-mail if no account has it.
            known_network: Hash of the client's network if the account has signed in from there. Such a network has a
                count of its own, so that strangers cannot lock the owner out.

        Raises:
            TooManyRequests: if too many attempts have failed.
        """
        key = str(target) if isinstance(target, UUID) else sha256(target.lower().encode()).hexdigest()
        return self._attempts.attempt(self._per_account, key if known_network is None else f"{key}:{known_network}")


LoginThrottleDep = Annotated[LoginThrottle, Depends(from_state(LoginThrottle))]
