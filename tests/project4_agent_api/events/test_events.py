"""A run's stream for a client that connects during an outage, or that does not keep up."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from uuid import uuid4

import pytest

from project4_agent_api.events.ids import END, EventId, pack, run_stream
from project4_agent_api.events.subscriber import Subscriber, Subscription
from project4_agent_api.settings import Settings
from shared.errors import DatabaseUnavailable
from shared.redis.client import RedisClient, create_redis

Make = Callable[..., Settings]


@pytest.fixture
async def redis(make_settings4: Make) -> AsyncIterator[RedisClient]:
    async with create_redis(make_settings4()) as client:
        yield client


async def test_database_is_queried_again_after_a_failure(redis: RedisClient) -> None:
    run_id, subscription, asked = uuid4(), Subscription(), 0
    await redis.xadd(redis.key(run_stream(run_id)), {"e": pack(1, 1, [("values", b"{}"), (END, b"success\n{}")])})

    async def back_the_third_time() -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise DatabaseUnavailable("The database cannot be reached.")

    subscription.receive(None)
    events = Subscriber(redis).follow(run_id, subscription, idle_timeout=60, seconds_since_end=back_the_third_time)

    async with aclosing(events):
        assert [event.name async for event in events] == ["values", END]
    assert asked == 3


@pytest.mark.parametrize("after", [EventId(5, 7), EventId(1, 9)])
@pytest.mark.parametrize("started", [True, False])
async def test_id_of_another_run_means_the_beginning(redis: RedisClient, after: EventId, started: bool) -> None:
    run_id, subscription = uuid4(), Subscription()
    events = pack(1, 1, [("values", b"{}"), (END, b"success\n{}")])
    subscription.receive(None)
    if started:
        await redis.xadd(redis.key(run_stream(run_id)), {"e": events}, id="1-2")
    else:
        subscription.receive(events)

    async def unfinished() -> None:
        return None

    following = Subscriber(redis).follow(run_id, subscription, after, idle_timeout=60, seconds_since_end=unfinished)
    async with aclosing(following):
        assert [event.name async for event in following] == ["values", END]


async def test_redis_is_read_again_after_a_failure(make_settings4: Make, redis: RedisClient) -> None:
    run_id, subscription, asked = uuid4(), Subscription(), 0
    await redis.xadd(redis.key(run_stream(run_id)), {"e": pack(1, 1, [(END, b"success\n{}")])})
    nowhere = make_settings4(redis_url="redis://127.0.0.1:1/0")
    async with create_redis(nowhere) as away:
        there = redis.connection_pool
        redis.connection_pool = away.connection_pool

        async def back_the_second_time() -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                redis.connection_pool = there

        subscription.receive(None)
        events = Subscriber(redis).follow(run_id, subscription, idle_timeout=60, seconds_since_end=back_the_second_time)

        async with aclosing(events):
            assert [event.name async for event in events] == [END]
        assert asked == 2


async def test_slow_reader_is_bounded_and_reads_everything(redis: RedisClient) -> None:
    run_id, subscription = uuid4(), Subscription()
    large = b'"%b"' % (b"a" * 2**20)
    messages = [pack(1, number, [("values", large)]) for number in range(1, 41)] + [pack(1, 41, [(END, b"success")])]
    for number, message in enumerate(messages, start=1):
        await redis.xadd(redis.key(run_stream(run_id)), {"e": message}, id=f"1-{number}")
        subscription.receive(message)
    waiting = subscription.messages.qsize()
    assert waiting < 16

    async def unfinished() -> None:
        return None

    events = Subscriber(redis).follow(run_id, subscription, idle_timeout=60, seconds_since_end=unfinished)
    async with aclosing(events):
        assert [event.id.number async for event in events] == list(range(1, 42))


def test_oversized_message_is_delivered_alone() -> None:
    subscription, message = Subscription(), b"a" * 2**25
    subscription.receive(message)
    assert subscription.messages.get_nowait() == message
    subscription.receive(b"b")
    assert subscription.messages.get_nowait() == b"b"
