"""Wake workers through Redis. Every message is only a hint: PostgreSQL holds the facts.

Owners with claimable runs stand in a queue, each once, however many of their runs wait. A worker takes the first owner,
claims one of their runs, and puts them at the end of the queue if they have more. So a thousand runs of one user delay
another user's run by one turn.

A lost message delays runs and loses none: workers query the database when they start, after Redis was unavailable, when
a run or cron falls due, and whenever they renew their leases.
"""

import contextlib
from typing import Any
from uuid import UUID

from loguru import logger
from redis.exceptions import RedisError

from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

_OWNER_QUEUE = "runs:owners"  # a sorted set: owners with claimable runs, by their turn
_LAST_TURN = "runs:turns"
WORKER_CHANNEL = "runs:signals"  # received by every worker
DUE_TIME_CHANGED = b"due"
_STOP = b"stop:"

# An owner in the queue keeps their place. Redis counts the turns, because clocks differ.
_ENQUEUE_OWNERS = """
    for _, owner in ipairs(ARGV) do
        redis.call('ZADD', KEYS[1], 'NX', redis.call('INCR', KEYS[2]), owner)
    end
"""


async def wake_worker(redis: RedisClient, *owner_ids: UUID) -> bool:
    """Put owners with claimable runs into the queue. Return whether Redis took them."""
    keys = redis.key(_OWNER_QUEUE), redis.key(_LAST_TURN)
    try:
        await redis.eval(_ENQUEUE_OWNERS, len(keys), *keys, *map(str, owner_ids))
    except (*REDIS_UNAVAILABLE, RedisError) as error:  # unavailable, or out of memory
        logger.warning("no worker could be woken ({}); workers find the runs in the database", type(error).__name__)
        return False
    return True


async def next_owner(redis: RedisClient) -> UUID:
    """Wait for an owner with claimable runs, and take them from the queue.

    Args:
        redis: A client without a response timeout.

    Raises:
        RedisError, OSError: if Redis is unavailable or unusable.
    """
    answer: Any = await redis.bzpopmin([redis.key(_OWNER_QUEUE)])
    return UUID(answer[1].decode())


async def publish_due_time(redis: RedisClient) -> None:
    """Tell the workers that a run or cron may fall due earlier than they expect."""
    with contextlib.suppress(*REDIS_UNAVAILABLE):
        await redis.publish(redis.key(WORKER_CHANNEL), DUE_TIME_CHANGED)


async def publish_stop(redis: RedisClient, run_id: UUID, action: str) -> None:
    """Tell the worker of a run to stop it."""
    with contextlib.suppress(*REDIS_UNAVAILABLE):
        await redis.publish(redis.key(WORKER_CHANNEL), _STOP + f"{action}:{run_id}".encode())


def parse_stop(message: bytes) -> tuple[str, UUID] | None:
    """Return the action and the run of a message to stop one; None for any other message."""
    if not message.startswith(_STOP):
        return None
    action, _, run_id = message.removeprefix(_STOP).decode().partition(":")
    return action, UUID(run_id)
