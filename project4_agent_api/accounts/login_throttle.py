"""Guessing is slow: how often a password may be tried, for one account and from one address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request

from project4_agent_api.core.rate_limits import Limit, RateLimits, network

_FAILURES_SECONDS = 15 * 60  # until a failure is forgotten


class Attempts:
    """Counts attempts.

    Args:
        limits: Counts.
        failures: Wrong passwords of an account in a quarter of an hour, before it takes no more for a while.
        per_minute: Attempts from one address.
    """

    def __init__(self, limits: RateLimits, *, failures: int, per_minute: int) -> None:
        self._limits = limits
        self._of_account = Limit("failures", failures, _FAILURES_SECONDS)
        self._from_address = Limit("attempts", per_minute)

    async def from_address(self, address: str, what: str) -> None:
        """Count an attempt.

        Args:
            address: Where it comes from.
            what: Attempts at different things are counted apart.

        Raises:
            TooManyRequests: if there were too many.
        """
        (await self._limits.count(self._from_address, f"{what}:{network(address)}")).check()

    async def at_account(self, target: UUID | str) -> None:
        """Count an attempt at a password, before it is looked at: a hundred at once are a hundred.

        Args:
            target: The account, whose e-mail can be changed and be written in several ways; the e-mail where nobody
                has it.

        Raises:
            TooManyRequests: if too many have failed.
        """
        (await self._limits.count(self._of_account, _name(target))).check()

    async def succeeded(self, target: UUID | str) -> None:
        """Forget the failures: the last attempt was right."""
        await self._limits.forget(self._of_account, _name(target))


def _name(target: UUID | str) -> str:
    """Return a place in Redis, which is to know no e-mails."""
    return str(target) if isinstance(target, UUID) else sha256(target.lower().encode()).hexdigest()


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
        app.state.rate_limits, failures=settings.sign_in_failures, per_minute=settings.sign_ins_per_minute
    )
    yield
