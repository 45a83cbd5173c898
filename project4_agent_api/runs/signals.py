"""How processes wake each other: words on their way through Redis. What they are about stands in PostgreSQL.

A word that is lost delays and loses nothing: workers look into the database when they start, when they have not heard
Redis for a while, when something falls due, and whenever they extend their leases.
"""

import contextlib
from uuid import UUID

from redis.asyncio import Redis

from shared.redis import REDIS_AWAY

WOKEN = "runs:woken"  # a list: threads that have a run to be claimed. Each is taken by one worker
SIGNALS = "runs:signals"  # a channel: what every worker hears
DUE = b"due"  # something falls due at another time than was known
_STOP = b"stop:"


async def wake(redis: Redis, *thread_ids: UUID) -> None:
    """Tell a worker that threads have a run to be claimed."""
    with contextlib.suppress(*REDIS_AWAY):
        await redis.lpush(WOKEN, *map(str, thread_ids))


async def say_due(redis: Redis) -> None:
    """Tell the workers that something falls due at another time than they knew."""
    with contextlib.suppress(*REDIS_AWAY):
        await redis.publish(SIGNALS, DUE)


async def say_stop(redis: Redis, run_id: UUID, action: str) -> None:
    """Tell the worker of a run to stop it."""
    with contextlib.suppress(*REDIS_AWAY):
        await redis.publish(SIGNALS, _STOP + f"{action}:{run_id}".encode())


def stop_in(signal: bytes) -> tuple[str, UUID] | None:
    """Return what a signal says to stop, and how; None if it says something else."""
    if not signal.startswith(_STOP):
        return None
    action, _, run_id = signal.removeprefix(_STOP).decode().partition(":")
    return action, UUID(run_id)
