"""The stored events of a user's ended runs are bounded: those of the oldest runs are deleted."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from project4_agent_api.events.ids import run_stream, unpack
from project4_agent_api.events.publisher import Publisher
from project4_agent_api.settings import Settings
from shared.redis.client import RedisClient, create_redis

LIMIT = 100_000


@pytest.fixture
async def redis(make_settings4: Callable[..., Settings]) -> AsyncIterator[RedisClient]:
    client = create_redis(make_settings4())
    yield client
    await client.aclose()


async def end_run(redis: RedisClient, owner_id: UUID, size: int) -> UUID:
    """Publish a run with so many bytes of events."""
    publisher = Publisher(
        redis, kept_seconds=60, idle_kept_seconds=60, max_stream_bytes=10 * LIMIT, max_owner_bytes=LIMIT
    )
    run_id = uuid4()
    run = publisher.for_attempt(owner_id, uuid4(), run_id, 1)
    async with publisher.running():
        run.put("values", b"x" * size)
        run.put_end("success", b"{}")
        await publisher.flush()
    return run_id


async def kept(redis: RedisClient, run_ids: list[UUID]) -> list[bool]:
    return [bool(await redis.exists(redis.key(run_stream(run_id)))) for run_id in run_ids]


async def test_events_of_the_oldest_runs_are_deleted(redis: RedisClient) -> None:
    ada, bob = uuid4(), uuid4()
    quiet = [await end_run(redis, bob, 40_000)]
    loud = [await end_run(redis, ada, 40_000) for _ in range(5)]

    assert await kept(redis, loud) == [False, False, False, True, True]
    assert await kept(redis, quiet) == [True]


async def test_events_of_the_newest_run_are_kept(redis: RedisClient) -> None:
    ada = uuid4()
    runs = [await end_run(redis, ada, 1000), await end_run(redis, ada, 2 * LIMIT)]

    assert await kept(redis, runs) == [False, True]


async def test_last_events_of_a_large_batch_are_kept(redis: RedisClient) -> None:
    """Redis was slow, so that all events of the run are written at once, and exceed the maximum together."""
    publisher = Publisher(
        redis, kept_seconds=60, idle_kept_seconds=60, max_stream_bytes=LIMIT, max_owner_bytes=10 * LIMIT
    )
    run_id = uuid4()
    run = publisher.for_attempt(uuid4(), uuid4(), run_id, 1)
    for _ in range(50):
        run.put("custom", b"x" * (LIMIT // 20))
    run.put("values", b"{}")
    run.put_end("success", b"{}")
    async with publisher.running():
        await publisher.flush()

    entries: Any = await redis.xrange(redis.key(run_stream(run_id)))
    stored = [event for _, fields in entries for event in unpack(fields[b"e"])]
    assert [event.name for event in stored[-2:]] == ["values", "end"]
    assert LIMIT / 2 < sum(len(event.data) for event in stored) <= LIMIT
    assert [event.id.number for event in stored] == list(range(53 - len(stored), 53))
