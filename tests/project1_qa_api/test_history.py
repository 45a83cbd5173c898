"""The history in memory."""

from uuid import uuid4

from project1_qa_api.history import MemoryHistory
from project1_qa_api.schemas import Exchange


async def test_exchanges_are_newest_first_and_the_oldest_are_discarded() -> None:
    history, owner, other = MemoryHistory(2), uuid4(), uuid4()

    for question in ("first", "second", "third"):
        await history.add(owner, Exchange.model_construct(question=question))

    assert [exchange.question for exchange in await history.recent(owner)] == ["third", "second"]
    assert await history.recent(other) == []
