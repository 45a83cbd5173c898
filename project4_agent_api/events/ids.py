"""Ids and encoding of run events, and the names of the Redis streams and channels that carry them."""

import re
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import ormsgpack

# The last event of a run, never sent to clients. Its data are the run's status and, unless it is long, its result.
END = "end"
OMITTED = "omitted"  # replaces an event that was too large; its data are the event's name and size


class EventId(NamedTuple):
    """Position of an event in its run: the attempt, and the sequence number within the attempt."""

    attempt: int
    number: int

    def __str__(self) -> str:
        """Return the id as clients and Redis know it."""
        return f"{self.attempt}-{self.number}"

    @classmethod
    def parse(cls, text: str | None) -> "EventId":
        """Parse what `str` returns. Any other text is the id of another stream, and means the start of this one."""
        match = re.fullmatch(r"(\d{1,5})-(\d{1,18})", text or "", re.ASCII)
        return cls(int(match[1]), int(match[2])) if match else START


START = EventId(0, 0)
LAST_ATTEMPT = 32_767  # no run has as many attempts: an end with this number follows every other event


class Event(NamedTuple):
    """An event of a run; its data are JSON."""

    id: EventId
    name: str
    data: bytes


def start_event(run_id: UUID, attempt: int = 1) -> Event:
    """Return the first event of an attempt at a run."""
    return Event(EventId(attempt, 1), "metadata", b'{"run_id":"%b","attempt":%d}' % (str(run_id).encode(), attempt))


def run_stream(run_id: UUID) -> str:
    """Return the name of a run's stream, which is also the name of the channel of its events."""
    return f"run:{run_id}"


def run_end_channel(run_id: UUID) -> str:
    """Return the name of the channel on which only the end of a run is published."""
    return f"run:{run_id}:end"


def thread_channel(thread_id: UUID) -> str:
    """Return the name of a thread's channel: the ids of runs that started, or ended without having started."""
    return f"thread:{thread_id}"


def pack(attempt: int, first: int, events: list[tuple[str, bytes]]) -> bytes:
    """Encode consecutive events as one entry of a stream."""
    return ormsgpack.packb((attempt, first, events))


def unpack(entry: bytes) -> Iterator[Event]:
    """Decode the events of an entry."""
    attempt, first, events = ormsgpack.unpackb(entry)
    for number, (name, data) in enumerate(events, start=first):
        yield Event(EventId(attempt, number), name, data)
