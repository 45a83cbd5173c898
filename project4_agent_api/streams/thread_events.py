"""The events of a thread for one client: run after run as they start, and changes of its state outside runs.

A thread's runs are executed one at a time, so the time at which a run started identifies it and tells which runs came
later. The ids of these events begin with that time: a client that reconnects continues there, even if the run was
rolled back or deleted meanwhile.
"""

import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import dumps
from project4_agent_api.events.ids import END, START, EventId, run_stream
from project4_agent_api.events.sse import encode
from project4_agent_api.events.subscriber import IDLE, Subscription
from project4_agent_api.runs.replay import ThreadReplay
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.runs.subscription import RunSubscription
from project4_agent_api.threads.service import Threads
from project4_agent_api.threads.state import STATE_CHANGED
from shared.errors import Conflict, DatabaseUnavailable, NotFound

RUN_MODES, LIFECYCLE, STATE_UPDATE = "run_modes", "lifecycle", "state_update"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_ID = UUID(int=2**128 - 1)  # after every run's id


class Position(NamedTuple):
    """How far a client has read a thread's events: `MICROSECONDS:ATTEMPT-NUMBER`, or `MICROSECONDS:end`.

    Attributes:
        started_at: When the last run that was read started.
        last: The last event of it; None for its end.
    """

    started_at: datetime
    last: EventId | None

    def __str__(self) -> str:
        """Return the position as clients send it."""
        return f"{(self.started_at - _EPOCH) // _MICROSECOND}:{self.last or END}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Parse what `str` returns. Any other text is the id of another stream, and means the beginning of this one."""
        match = re.fullmatch(r"(\d{1,16}):(end|\d{1,5}-\d{1,18})", text, re.ASCII)
        if not match:
            return cls(_EPOCH, None)
        return cls(_EPOCH + int(match[1]) * _MICROSECOND, None if match[2] == END else EventId.parse(match[2]))


@dataclass
class ThreadEvents:
    """The events of a thread for one client.

    Attributes:
        subscription: To the thread's channel. Let it receive None first to read the runs that have started.
        modes: The requested kinds of events.
        position: How far the client has read.
    """

    runs: Runs
    threads: Threads
    replay: ThreadReplay
    subscription: Subscription
    modes: Collection[str]
    position: Position
    _ended: UUID = field(default=_MAX_ID, init=False)  # the run whose end is the position

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the events, encoded for the client, until the generator is closed."""
        while True:
            message = await self.subscription.next(self.runs.idle_timeout)
            if message == STATE_CHANGED:
                if STATE_UPDATE in self.modes and (state := await self._state()):
                    yield encode(STATE_UPDATE, state, None)
            elif RUN_MODES in self.modes or LIFECYCLE in self.modes:
                while run := await self._next_run(idle=message == IDLE):
                    async with aclosing(self._follow(run)) as events:
                        async for event in events:
                            yield event

    async def _state(self) -> bytes | None:
        thread_id = self.replay.thread_id
        try:
            state = await self.threads.states.get(self.replay.owner_id, thread_id)
        except (NotFound, Conflict):  # the thread was deleted, or its graph cannot read the state
            return None
        except DatabaseUnavailable:
            await self.subscription.receive_later(STATE_CHANGED)
            return None
        return dumps({"state": state, "thread_id": thread_id})

    async def _next_run(self, *, idle: bool) -> Row | None:
        started_at, last = self.position
        try:
            return await self.replay.next_started(started_at, None if last else self._ended)
        except DatabaseUnavailable:
            if not idle:
                await self.subscription.receive_later()
            return None

    async def _follow(self, row: Row) -> AsyncGenerator[bytes]:
        """Yield the events of a run up to its end, and one that says that it has ended.

        If the position is in this run, only the events after it are sent.
        """
        run_id, started_at = row["run_id"], row["started_at"]
        after = (self.position.last if started_at == self.position.started_at else None) or START
        key = RunKey(self.replay.owner_id, self.replay.thread_id, run_id)
        async with self.runs.subscriber.subscribe(run_stream(run_id)) as subscription:
            subscription.receive(None)  # it has already started
            async with aclosing(RunSubscription(self.runs, key, subscription).follow(after)) as events:
                async for event in events:
                    if event.name != END and (RUN_MODES in self.modes or event.name == "metadata"):
                        self.position = Position(started_at, event.id)
                        yield encode(event.name, event.data, str(self.position))
        self.position, self._ended = Position(started_at, None), run_id
        yield encode("metadata", dumps({"status": "run_done", "run_id": run_id}), str(self.position))
