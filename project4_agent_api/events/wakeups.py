"""How processes wake each other: words on their way through Redis. What they are about stands in PostgreSQL.

Who has runs to be claimed stands in a line: a user once, however many runs wait. A worker takes the first, claims one
run of theirs, and puts them at the end of the line again if they have more. So a thousand runs of one user do not keep
another's one run waiting longer than one turn.

A word that is lost delays and loses nothing: workers look into the database when they start, when they have not heard
Redis for a while, when something falls due, and whenever they extend their leases.
"""

import contextlib
from typing import Any
from uuid import UUID

from loguru import logger
from redis.exceptions import RedisError

from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

_LINE = "runs:owners"  # a sorted set: users who have a run to be claimed, by their turn
_TURNS = "runs:turns"  # the last turn that was given
SIGNALS = "runs:signals"  # a channel: what every worker hears
DUE = b"due"  # something falls due at another time than was known
_STOP = b"stop:"

# Whoever stands in the line already keeps their place. The turns are Redis' own count: clocks differ.
_STAND_IN_LINE = """
    for _, owner in ipairs(ARGV) do
        redis.call('ZADD', KEYS[1], 'NX', redis.call('INCR', KEYS[2]), owner)
    end
"""


async def wake(redis: RedisClient, *owner_ids: UUID) -> bool:
    """Tell a worker that users have runs to be claimed. Returns whether that could be said."""
    keys = redis.key(_LINE), redis.key(_TURNS)
    try:
        await redis.eval(_STAND_IN_LINE, len(keys), *keys, *map(str, owner_ids))
    except (*REDIS_UNAVAILABLE, RedisError) as error:  # away, or full: what waits is found in the database
        logger.warning("nobody can be woken: {}", type(error).__name__)
        return False
    return True


async def woken(redis: RedisClient) -> UUID:
    """Wait for a user who has runs to be claimed, and take them out of the line.

    Args:
        redis: A client whose answers may take for ever.

    Raises:
        RedisError, OSError: if Redis is away, or cannot be used.
    """
    answer: Any = await redis.bzpopmin([redis.key(_LINE)])
    return UUID(answer[1].decode())


async def say_due(redis: RedisClient) -> None:
    """Tell the workers that something falls due at another time than they knew."""
    with contextlib.suppress(*REDIS_UNAVAILABLE):
        await redis.publish(redis.key(SIGNALS), DUE)


async def say_stop(redis: RedisClient, run_id: UUID, action: str) -> None:
    """Tell the worker of a run to stop it."""
    with contextlib.suppress(*REDIS_UNAVAILABLE):
        await redis.publish(redis.key(SIGNALS), _STOP + f"{action}:{run_id}".encode())


def stop_in(signal: bytes) -> tuple[str, UUID] | None:
    """Return what a signal says to stop, and how; None if it says something else."""
    if not signal.startswith(_STOP):
        return None
    action, _, run_id = signal.removeprefix(_STOP).decode().partition(":")
    return action, UUID(run_id)
