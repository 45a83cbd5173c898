"""Events of runs: their ids, how a stream holds them, and the names of streams and channels."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import ormsgpack

# The last event of a run: never shown. Its data say how the run has ended, and what it gave, unless that is long.
END = "end"
OMITTED = "omitted"  # stands for an event that was too large: its name and size


class EventId(NamedTuple):
    """Which event of a run: of which attempt, and the how many-th."""

    attempt: int
    number: int

    def __str__(self) -> str:
        """Return it as it is sent, and as Redis orders it."""
        return f"{self.attempt}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> "EventId":
        """Read what `str` has written.

        Raises:
            ValueError: if it is nothing of the kind.
        """
        attempt, _, number = text.partition("-")
        return cls(int(attempt), int(number))


START = EventId(0, 0)
LAST_ATTEMPT = 32_767  # no run comes so far: an end with it is after everything


class Event(NamedTuple):
    """Something that happened in a run: its name, and JSON."""

    id: EventId
    name: str
    data: bytes


def stream_of(run_id: UUID) -> str:
    """Return the key of a run's stream, which is the name of its channel too."""
    return f"run:{run_id}"


def end_of(run_id: UUID) -> str:
    """Return the channel on which only the end of a run is said."""
    return f"run:{run_id}:end"


def thread_of(thread_id: UUID) -> str:
    """Return the channel on which it is said that a run of a thread has begun, or has ended without a beginning."""
    return f"thread:{thread_id}"


def pack(attempt: int, first: int, events: list[tuple[str, bytes]]) -> bytes:
    """Make an entry of events that follow each other."""
    return ormsgpack.packb((attempt, first, events))


def unpack(entry: bytes) -> Iterator[Event]:
    """Give the events of an entry."""
    attempt, first, events = ormsgpack.unpackb(entry)
    for number, (name, data) in enumerate(events, start=first):
        yield Event(EventId(attempt, number), name, data)
