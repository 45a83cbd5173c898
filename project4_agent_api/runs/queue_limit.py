"""The limits on waiting runs. A run beyond them is refused at once rather than left waiting for an hour."""

from dataclasses import dataclass
from time import monotonic
from typing import Self

from project4_agent_api.core.postgres import Connection
from project4_agent_api.core.storage import StorageQuota
from project4_agent_api.runs.repository import RETRY_SECONDS, Admission, count_waiting
from project4_agent_api.settings import Settings
from shared.errors import QueueFull

_COUNT_SECONDS = 1.0  # for which a count is used
_FULL_SECONDS = 0.25
_SHARE = 16  # the part of the counted capacity that a process hands out before it counts again
_MAX_OVERFLOW = 2  # times the limit of the service


@dataclass(frozen=True)
class UserLimits:
    """Maximum runs of one user.

    Attributes:
        waiting: Runs that are due and not started.
        deferred: Runs that are due later.
        overflow: Runs that may wait if the service has reached its own limit.
        storage: The limit on the user's storage.
        webhooks: Webhook calls that are due.
    """

    waiting: int
    deferred: int
    overflow: int
    storage: StorageQuota
    webhooks: int


class QueueLimit:
    """The limits on waiting runs, as one process applies them. Only due runs count for the service.

    A full queue still takes a few runs of users who hold no more than these, up to twice its size: their turn comes
    soon, however many runs of others wait. So nobody can fill the queue for everybody.

    Counting takes longer the more runs wait, so a process hands out a sixteenth of the free capacity before it counts
    again. With up to sixteen API processes the limit is exceeded only by the runs that are being stored at that moment.
    """

    def __init__(self, *, total: int, user: UserLimits) -> None:
        self._total = total
        self._user = user
        self._free = 0
        self._overflow = False
        self._counted_at = self._full_at = float("-inf")

    @classmethod
    def from_settings(cls, settings: Settings, storage: StorageQuota) -> Self:
        """Create the limits of the settings."""
        user = UserLimits(
            waiting=settings.user_runs_waiting_max,
            deferred=settings.user_runs_deferred_max,
            overflow=settings.user_runs_running_max,
            storage=storage,
            webhooks=settings.user_webhooks_max,
        )
        return cls(total=settings.runs_waiting_max, user=user)

    def admission(self) -> Admission:
        """Return the limits of a user while the service has capacity, for runs that nobody requests now."""
        return self._admission(self._user.waiting, queue_full=False)

    async def reserve(self, connection: Connection, runs: int = 1, deferred: int = 0) -> Admission:
        """Reserve capacity for more runs.

        Args:
            deferred: How many of them are due later.

        Raises:
            QueueFull: if there is none.
        """
        due = runs - deferred
        now = monotonic()
        if due and (self._free < due or now - self._counted_at > _COUNT_SECONDS):
            await self._count(connection, due, now)
        self._free -= due
        waiting = min(self._user.overflow, self._user.waiting) if self._overflow and due else self._user.waiting
        return self._admission(waiting, queue_full=self._overflow)

    def _admission(self, waiting: int, *, queue_full: bool) -> Admission:
        user = self._user
        return Admission(waiting, user.deferred, queue_full=queue_full, storage=user.storage, webhooks=user.webhooks)

    async def _count(self, connection: Connection, runs: int, now: float) -> None:
        if now - self._full_at < _FULL_SECONDS:
            raise _full()
        waiting = await count_waiting(connection, _MAX_OVERFLOW * self._total)
        self._overflow = self._total - waiting < runs
        free = (_MAX_OVERFLOW if self._overflow else 1) * self._total - waiting
        if free < runs:
            self._full_at = now
            raise _full()
        self._free = max(runs, free // _SHARE)
        self._counted_at = now


def _full() -> QueueFull:
    return QueueFull(QueueFull.example_detail, retry_after=RETRY_SECONDS)
