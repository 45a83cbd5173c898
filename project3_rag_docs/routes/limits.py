"""A limit on what a user does at once, for routes whose work is dear."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from fastapi import Request

from shared.errors import TooManyRequests
from shared.owner import CurrentOwner

_RETRY_SECONDS = 10


def limit_at_once(name: str, most: int, detail: str) -> Callable[[Request, UUID], AsyncIterator[None]]:
    """Return a dependency that lets a user have only a few requests of a kind at once, per process.

    Args:
        name: The attribute of `app.state` with the `Counter` of these requests by user.
        detail: The text of the error, `TooManyRequests`.
    """

    async def limit(request: Request, caller: CurrentOwner) -> AsyncIterator[None]:
        current: Counter[UUID] = getattr(request.app.state, name)
        if current[caller] >= most:
            raise TooManyRequests(detail, retry_after=_RETRY_SECONDS)
        current[caller] += 1
        try:
            yield
        finally:
            current -= Counter([caller])  # keeps no zeros

    return limit
