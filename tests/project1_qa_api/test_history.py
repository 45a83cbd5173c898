"""The history in memory."""

from datetime import UTC, datetime
from uuid import uuid4

from project1_qa_api.history import MemoryHistory
from project1_qa_api.schemas import Exchange


async def test_exchanges_are_newest_first_and_the_oldest_are_discarded() -> None:
    history, owner, other = MemoryHistory(2), uuid4(), uuid4()
    now = datetime.now(UTC)

    for question in ("first", "second", "third"):
        exchange = Exchange(id=uuid4(), question=question, answer="", model="m", created_at=now)
        await history.add(owner, exchange)

    assert [exchange.question for exchange in await history.recent(owner)] == ["third", "second"]
    assert await history.recent(other) == []
