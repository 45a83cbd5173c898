"""What happens on a thread, for one reader: run after run as they come, and changes of its state from outside a run.

An event's id says of which run it is and where in it: `RUN_ID/ATTEMPT-NUMBER`, and `RUN_ID/end` for the end.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from project4_agent_api.live import encode
from project4_agent_api.models import RunStatus
from project4_agent_api.postgres import Row
from project4_agent_api.runs.events import END, START, Event, EventId, Listener
from project4_agent_api.runs.service import Runs
from project4_agent_api.threads import STATE_CHANGED, Threads
from project4_agent_api.wire import dumps

RUN_MODES, LIFECYCLE, STATE_UPDATE = "run_modes", "lifecycle", "state_update"


class Place(NamedTuple):
    """Where in a thread's events somebody has read to: a run, and the last event of it; None for its end."""

    run_id: UUID
    last: EventId | None

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read an id.

        Raises:
            ValueError: if it is none.
        """
        run_id, _, last = text.partition("/")
        return cls(UUID(run_id), None if last == END else EventId.parse(last))


@dataclass
class ThreadEvents:
    """The events of a thread.

    Attributes:
        runs: All runs.
        threads: All threads.
        owner_id: Whose it is.
        thread_id: Which thread.
        listener: Hears that runs begin, and that the state was changed.
        modes: What of it is wanted.
        begun: The runs that have begun before the reader came.
    """

    runs: Runs
    threads: Threads
    owner_id: UUID
    thread_id: UUID
    listener: Listener
    modes: Collection[str]
    begun: list[Row]

    async def events(self, after: Place | None, *, all_kept: bool) -> AsyncGenerator[bytes]:
        """Give the events as they are sent. It ends when it is closed.

        Args:
            after: Only what comes after this; None for only what is still to come.
            all_kept: Whether all that is kept is wanted.
        """
        seen: list[UUID] = []
        for run in self.begun:
            if after and run["run_id"] == after.run_id:
                all_kept = True
                if after.last is None:
                    seen = [one["run_id"] for one in self.begun[: self.begun.index(run) + 1]]
            if not all_kept and run["status"] != RunStatus.RUNNING:
                seen.append(run["run_id"])
        begun = [run for run in self.begun if run["run_id"] not in seen]
        while True:
            if self.modes != {STATE_UPDATE}:
                for run in begun:
                    seen.append(run["run_id"])
                    last = after.last if after and run["run_id"] == after.run_id else None
                    async with aclosing(self._of_run(run["run_id"], last or START)) as events:
                        async for event in events:
                            yield event
            message = await self.listener.messages.get()
            if message in (STATE_CHANGED, None) and STATE_UPDATE in self.modes:
                state = await self.threads.state(self.owner_id, self.thread_id)
                yield encode(STATE_UPDATE, dumps({"state": state, "thread_id": self.thread_id}), None)
            begun = await self.runs.begun(self.owner_id, self.thread_id, seen)

    async def _of_run(self, run_id: UUID, after: EventId) -> AsyncGenerator[bytes]:
        async with self.runs.hearing_events(run_id) as listener:
            listener.hear(None)
            async for event in self.runs.follow(self.owner_id, self.thread_id, run_id, listener, after):
                if event.name != END and (RUN_MODES in self.modes or _is_beginning(event)):
                    yield encode(event.name, event.data, f"{run_id}/{event.id}")
        yield encode("metadata", dumps({"status": "run_done", "run_id": run_id}), f"{run_id}/{END}")


def _is_beginning(event: Event) -> bool:
    return event.name == "metadata"
