"""The limits on pending runs. A run beyond them is refused at once rather than left waiting for an hour."""

from time import monotonic

from project4_agent_api.core.postgres import Connection
from project4_agent_api.runs.repository import RETRY_SECONDS, count_pending
from shared.errors import QueueFull

_COUNT_SECONDS = 1.0  # for which a count is used
_FULL_SECONDS = 0.25
_SHARE = 16  # the part of the counted capacity that a process hands out before it counts again


class QueueLimit:
    """The limits on pending runs, as one process applies them.

    Counting takes longer the more runs wait, so a process hands out a sixteenth of the free capacity before it counts
    again. With up to sixteen API processes the limit is exceeded only by the runs that are being stored at that moment.
    """

    def __init__(self, *, total: int, per_user: int) -> None:
        self.per_user = per_user
        self._total = total
        self._free = 0
        self._counted_at = self._full_at = float("-inf")

    async def reserve(self, connection: Connection, runs: int = 1) -> None:
        """Reserve capacity for more runs.

        Raises:
            QueueFull: if there is none.
        """
        now = monotonic()
        if self._free < runs or now - self._counted_at > _COUNT_SECONDS:
            if now - self._full_at < _FULL_SECONDS:
                raise _full()
            free = self._total - await count_pending(connection, self._total)
            if free < runs:
                self._full_at = now
                raise _full()
            self._free = max(runs, free // _SHARE)
            self._counted_at = now
        self._free -= runs


def _full() -> QueueFull:
    return QueueFull(QueueFull.example_detail, retry_after=RETRY_SECONDS)
