"""A run that somebody listens to: what it gives in the end, or its events, until the listener has gone."""

import contextlib
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from uuid import UUID

from project4_agent_api.events.ids import END, START, EventId
from project4_agent_api.events.sse import encoded
from project4_agent_api.events.subscriber import Listener
from project4_agent_api.runs.service import Runs
from shared.errors import NotFound


@dataclass
class Followed:
    """A run with its listener.

    Attributes:
        runs: All runs.
        owner_id: Whose it is.
        thread_id: Its thread.
        run_id: Which one.
        listener: Hears its end, or its events.
        stop_if_left: Whether the run is stopped when whoever follows it goes away before its end.
        own_thread: Whether its thread was made for it, and goes with it.
    """

    runs: Runs
    owner_id: UUID
    thread_id: UUID
    run_id: UUID
    listener: Listener
    stop_if_left: bool
    own_thread: bool = False

    def headers(self, then: str) -> dict[str, str]:
        """Say where the run is, and where it can be waited for or followed again."""
        run = f"/threads/{self.thread_id}/runs/{self.run_id}"
        return {"Content-Location": run, "Location": f"{run}/{then}"}

    async def result(self) -> AsyncGenerator[bytes]:
        """Wait for the end; give what the run gives, as JSON."""
        try:
            try:
                result = await self.runs.result(self.owner_id, self.thread_id, self.run_id, self.listener)
            except NotFound:
                if self.own_thread:
                    raise
                result = b"{}"  # it was deleted with its thread: whoever listened at that moment is told the same
            self.stop_if_left = False
            yield result
        finally:
            await self._leave()

    async def nothing(self) -> AsyncGenerator[bytes]:
        """Wait for the end; give an empty object."""
        with contextlib.suppress(NotFound):  # it was on a thread that has gone with it
            async for _ in self.result():
                pass
        yield b"{}"

    async def events(self, after: EventId = START, modes: Collection[str] | None = None) -> AsyncGenerator[bytes]:
        """Give the run's events as they are sent.

        Args:
            after: Only events after this one.
            modes: Only events of these stream modes.
        """
        try:
            async for event in self.runs.follow(self.owner_id, self.thread_id, self.run_id, self.listener, after):
                if event.name == END:
                    self.stop_if_left = False
                elif modes is None or _mode_of(event.name) in modes:
                    yield encoded(event)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        if self.stop_if_left and not self.runs.stopping.closing_connections:
            await self.runs.stop_if_there(self.owner_id, self.thread_id, self.run_id)


def _mode_of(name: str) -> str:
    """Return the mode of an event: `messages` of `messages/partial`, `values` of `values|agent:1`."""
    return name.partition("|")[0].partition("/")[0]
