"""The last exchanges of each owner. In memory here; a later stage keeps them elsewhere behind the same two methods."""

from collections import OrderedDict, deque
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Depends, Request

from project1_qa_api.schemas import Exchange

_MOST_OWNERS = 1000


class History(Protocol):
    """Where exchanges are kept."""

    async def add(self, owner_id: UUID, exchange: Exchange) -> None:
        """Keep an exchange, in place of the oldest one if there are too many."""

    async def recent(self, owner_id: UUID) -> list[Exchange]:
        """Return the owner's exchanges, newest first."""


class MemoryHistory:
    """A `History` of this process, gone when it ends.

    Args:
        size: Exchanges kept for each owner. At most 1,000 owners are remembered, those who asked last.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._of_owner: OrderedDict[UUID, deque[Exchange]] = OrderedDict()

    async def add(self, owner_id: UUID, exchange: Exchange) -> None:
        """Keep an exchange, in place of the oldest one if there are too many."""
        exchanges = self._of_owner.setdefault(owner_id, deque(maxlen=self._size))
        exchanges.appendleft(exchange)
        self._of_owner.move_to_end(owner_id)
        if len(self._of_owner) > _MOST_OWNERS:
            self._of_owner.popitem(last=False)

    async def recent(self, owner_id: UUID) -> list[Exchange]:
        """Return the owner's exchanges, newest first."""
        return list(self._of_owner.get(owner_id, ()))


async def get_history(request: Request) -> History:
    """Return the history of the app."""
    history: History = request.app.state.history
    return history


HistoryDep = Annotated[History, Depends(get_history)]
