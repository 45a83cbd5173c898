"""How many runs may wait. Beyond it one more is refused at once: what would wait for an hour helps nobody."""

from time import monotonic

from project4_agent_api.core.postgres import Connection
from project4_agent_api.runs import repository as queue
from shared.errors import QueueFull

_GOOD_SECONDS = 1.0  # for which a look into the database is taken for the present
_FULL_SECONDS = 0.25
_SHARE = 16  # of what was free at the last look, this part is given away without another


class Limits:
    """The limits on what waits, as one process keeps them.

    Counting what waits takes the longer the more there is, so it is done once in a while: until the next time a process
    gives away a sixteenth of what was free. So with up to sixteen API processes no more runs wait than may, but for
    those that are being stored at the moment.

    Args:
        waiting: Runs of the service that may wait.
        user_waiting: Runs of one user that may.
    """

    def __init__(self, *, waiting: int, user_waiting: int) -> None:
        self.user_waiting = user_waiting
        self._waiting = waiting
        self._free = 0
        self._looked = self._full = float("-inf")

    async def admit(self, connection: Connection, runs: int = 1) -> None:
        """Make sure that there is room for more runs.

        Raises:
            QueueFull: if there is not.
        """
        now = monotonic()
        if self._free < runs or now - self._looked > _GOOD_SECONDS:
            if now - self._full < _FULL_SECONDS:
                raise _full()
            free = self._waiting - await queue.waiting_runs(connection, self._waiting)
            if free < runs:
                self._full = now
                raise _full()
            self._free = max(runs, free // _SHARE)
            self._looked = now
        self._free -= runs


def _full() -> QueueFull:
    return QueueFull(QueueFull.usual_detail, retry_after=queue.RETRY_SECONDS)
