"""The last exchanges of each owner: an interface, and its implementation in memory."""

from collections import OrderedDict, deque
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Depends, Request

from project1_qa_api.schemas import Exchange

_MAX_OWNERS = 1000


class History(Protocol):
    """A store of exchanges. Stage 4 implements it with Redis."""

    async def add(self, owner_id: UUID, exchange: Exchange) -> None:
        """Store an exchange, and discard the oldest one if there are too many."""

    async def recent(self, owner_id: UUID) -> list[Exchange]:
        """Return the owner's exchanges, newest first."""


class MemoryHistory:
    """A `History` in the memory of this process, for the 1,000 owners who asked last.

    Args:
        size: Number of exchanges to keep for each owner.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._exchanges: OrderedDict[UUID, deque[Exchange]] = OrderedDict()

    async def add(self, owner_id: UUID, exchange: Exchange) -> None:
        """Store an exchange, and discard the oldest one if there are too many."""
        exchanges = self._exchanges.setdefault(owner_id, deque(maxlen=self._size))
        exchanges.appendleft(exchange)
        self._exchanges.move_to_end(owner_id)
        if len(self._exchanges) > _MAX_OWNERS:
            self._exchanges.popitem(last=False)

    async def recent(self, owner_id: UUID) -> list[Exchange]:
        """Return the owner's exchanges, newest first."""
        return list(self._exchanges.get(owner_id, ()))


async def get_history(request: Request) -> History:
    """Return the app's history."""
    history: History = request.app.state.history
    return history


HistoryDep = Annotated[History, Depends(get_history)]
