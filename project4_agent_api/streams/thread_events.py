"""What happens on a thread, for one reader: run after run as they come, and changes of its state from outside a run.

A thread's runs are executed one at a time, so the moment at which a run was begun says which one it is, and which ones
came later. The ids of these events begin with it: a reader that comes back goes on there, also where that run was taken
back or deleted meanwhile.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import dumps
from project4_agent_api.events.ids import END, START, EventId
from project4_agent_api.events.sse import encode
from project4_agent_api.events.subscriber import SILENCE, Listener
from project4_agent_api.runs.service import Runs
from project4_agent_api.threads.service import STATE_CHANGED, Threads
from shared.errors import Conflict, DatabaseUnavailable, NotFound

RUN_MODES, LIFECYCLE, STATE_UPDATE = "run_modes", "lifecycle", "state_update"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ANY = UUID(int=2**128 - 1)  # after every run's id


class Place(NamedTuple):
    """Where in a thread's events somebody has read to: `MICROSECONDS:ATTEMPT-NUMBER`, or `MICROSECONDS:end`.

    Attributes:
        begun_at: When the run was begun that was read last.
        last: The last event of it; None for its end.
    """

    begun_at: datetime
    last: EventId | None

    def __str__(self) -> str:
        """Return it as it is sent."""
        return f"{(self.begun_at - _EPOCH) // _MICROSECOND}:{self.last or END}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read what `str` has written.

        Raises:
            ValueError: if it is nothing of the kind.
        """
        begun_at, _, last = text.partition(":")
        return cls(_EPOCH + int(begun_at) * _MICROSECOND, None if last == END else EventId.parse(last))


BEGINNING = Place(_EPOCH, None)


@dataclass
class ThreadEvents:
    """The events of a thread.

    Attributes:
        runs: All runs.
        threads: All threads.
        owner_id: Whose it is.
        thread_id: Which thread.
        listener: Hears that runs begin, and that the state was changed. Let it hear None first, for what has begun.
        modes: What of it is wanted.
        place: How far it has been read.
    """

    runs: Runs
    threads: Threads
    owner_id: UUID
    thread_id: UUID
    listener: Listener
    modes: Collection[str]
    place: Place
    _read: UUID = field(default=_ANY, init=False)  # the run that the place is the end of

    async def events(self) -> AsyncGenerator[bytes]:
        """Give the events as they are sent. It ends when it is closed."""
        while True:
            news = await self.listener.next(self.runs.patience)
            if news == STATE_CHANGED:
                if STATE_UPDATE in self.modes and (state := await self._state()):
                    yield encode(STATE_UPDATE, state, None)
            elif RUN_MODES in self.modes or LIFECYCLE in self.modes:
                while run := await self._next(silent=news == SILENCE):
                    async with aclosing(self._of_run(run)) as events:
                        async for event in events:
                            yield event

    async def _state(self) -> bytes | None:
        try:
            state = await self.threads.state(self.owner_id, self.thread_id)
        except (NotFound, Conflict):  # the thread was deleted, or its graph cannot read it
            return None
        except DatabaseUnavailable:
            await self.listener.hear_again(STATE_CHANGED)
            return None
        return dumps({"state": state, "thread_id": self.thread_id})

    async def _next(self, *, silent: bool) -> Row | None:
        begun_at, last = self.place
        try:
            return await self.runs.next_begun(self.owner_id, self.thread_id, begun_at, None if last else self._read)
        except DatabaseUnavailable:
            if not silent:
                await self.listener.hear_again()
            return None

    async def _of_run(self, run: Row) -> AsyncGenerator[bytes]:
        """Give the events of a run until its end, after the place if that is in it, and say that it is over."""
        run_id, begun_at = run["run_id"], run["begun_at"]
        after = (self.place.last if begun_at == self.place.begun_at else None) or START
        async with self.runs.hearing_events(run_id) as listener:
            listener.hear(None)  # it has begun already
            async with aclosing(self.runs.follow(self.owner_id, self.thread_id, run_id, listener, after)) as events:
                async for event in events:
                    if event.name != END and (RUN_MODES in self.modes or event.name == "metadata"):
                        self.place = Place(begun_at, event.id)
                        yield encode(event.name, event.data, str(self.place))
        self.place, self._read = Place(begun_at, None), run_id
        yield encode("metadata", dumps({"status": "run_done", "run_id": run_id}), str(self.place))
