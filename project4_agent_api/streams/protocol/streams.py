"""One stream of all that happens on a thread: run after run, from any point, for as long as the reader stays.

What was kept is read again, then what comes is heard; the next run is waited for, not looked for. A run that was not
started by the protocol is in it while it happens: its life, and what of its events has the same form. It does not come
again later: clients take the first end that they read for that of the run that they have started.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import orjson

from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import dumps
from project4_agent_api.events.ids import END, OMITTED, Event
from project4_agent_api.events.subscriber import SILENCE, Listener
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.service import Runs
from project4_agent_api.streams.protocol.frames import INPUT, LIFECYCLE, PER_MILLISECOND, Frame, question
from project4_agent_api.streams.protocol.schemas import EventStreamRequest
from shared.errors import DatabaseUnavailable, NotFound

_BACK_OFF_SECONDS = 0.5
# Events that every run may have and that are no frames: the protocol says the same otherwise, or not at all.
_OF_THE_RUN_PATH = ("metadata", "error", OMITTED)


@dataclass
class ThreadStream:
    """The stream of a thread, for one reader.

    Attributes:
        runs: All runs.
        owner_id: Who reads.
        thread_id: Which thread: it need not be there yet.
        wanted: What of it.
        listener: Hears that runs begin.
        begun: The runs that have begun when it is opened.
    """

    runs: Runs
    owner_id: UUID
    thread_id: UUID
    wanted: EventStreamRequest
    listener: Listener
    begun: list[Row]
    _last: int = field(default=0, init=False)  # the number of the last frame, also of one that is not wanted

    async def events(self) -> AsyncGenerator[bytes]:
        """Give the events as they are sent. It ends when it is closed."""
        seen = [run["run_id"] for run in self.begun if _is_past(run)]
        begun = [run for run in self.begun if not _is_past(run)]
        while True:
            for run in begun:
                seen.append(run["run_id"])
                async with aclosing(self._of_run(run)) as frames:
                    async for data in frames:
                        if event := self._sent(data):
                            yield event
            news = None if begun else await self.listener.next(self.runs.patience)
            try:
                begun = await self.runs.begun(self.owner_id, self.thread_id, seen)
            except DatabaseUnavailable:
                begun = []
                if news != SILENCE:
                    await self.listener.hear_again()

    def _sent(self, data: bytes) -> bytes | None:
        frame = orjson.loads(data)
        if frame["seq"] <= (self.wanted.since or 0):
            return None
        return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (frame["method"].encode(), data, frame["seq"])

    async def _of_run(self, run: Row) -> AsyncGenerator[bytes]:
        """Give the frames of a run that are wanted, to its end."""
        newest: bytes | None = None
        end: bytes | None = None
        async with self._listening(run) as listener:
            async for event in self.runs.follow(self.owner_id, self.thread_id, run["run_id"], listener):
                if event.name == END:
                    end = event.data if b"\n" in event.data else None  # a large one is only stored
                elif not run["protocol"]:
                    for data in self._numbered(run, _of_other_run(event, run["graph_id"]), run["created_at"]):
                        yield data
                elif event.name not in _OF_THE_RUN_PATH:
                    newest = event.data
                    channel, *namespace = event.name.split("|")
                    if self.wanted.takes(channel, namespace):
                        yield event.data
        at = run["updated_at"]
        if newest:
            frame = orjson.loads(newest)
            self._last = frame["seq"]
            at = datetime.fromtimestamp(frame["params"]["timestamp"] / 1000, UTC)
        # Where its events are gone, how it has ended and what it asks is told from what is stored.
        ending = _ending(end or await self._stored_end(run), run["graph_id"])
        if end and run["protocol"]:  # its worker has sent the questions
            ending = (frame for frame in ending if frame.channel != INPUT)
        for data in self._numbered(run, ending, at):
            yield data

    @asynccontextmanager
    async def _listening(self, run: Row) -> AsyncIterator[Listener]:
        """Listen to a run from its beginning. Of one that is over, all that there will be is kept."""
        if run["status"] == RunStatus.RUNNING:
            async with self.runs.hearing_events(run["run_id"]) as listener:
                listener.hear(None)
                yield listener
        else:
            listener = Listener()
            listener.heard.set()
            listener.hear(None)
            yield listener

    async def _stored_end(self, run: Row) -> bytes:
        while True:
            try:
                now = await self.runs.get(self.owner_id, self.thread_id, run["run_id"])
                result = await self.runs.result_now(self.owner_id, self.thread_id, run["run_id"])
            except NotFound:
                return b"rollback\n{}"
            except DatabaseUnavailable:
                await asyncio.sleep(_BACK_OFF_SECONDS)
            else:
                return f"{now['status']}\n".encode() + (result or b"{}")

    def _numbered(self, run: Row, frames: Iterator[Frame], at: datetime) -> Iterator[bytes]:
        """Number frames that no worker has numbered; give those that are wanted.

        Args:
            run: Whose frames they are.
            frames: The frames.
            at: When they were, about: it must be the same for whoever reads them.
        """
        milliseconds = int(at.timestamp() * 1000)
        for frame in frames:
            # A worker's frames of that time come before, and whoever has read them must get these.
            self._last = max(self._last, milliseconds * PER_MILLISECOND) + 1
            if self.wanted.takes(frame.channel, list(frame.namespace)):
                yield dumps(frame._replace(timestamp=milliseconds).sent(run["run_id"], self._last))


def _is_past(run: Row) -> bool:
    """Say whether a run belongs to no stream that is opened now."""
    return not run["protocol"] and run["status"] != RunStatus.RUNNING


def _of_other_run(event: Event, graph_id: str) -> Iterator[Frame]:
    """Give the frames of an event of a run that was not started by the protocol."""
    channel, *namespace = event.name.split("|")
    if channel == "metadata":
        yield Frame(LIFECYCLE, [], {"event": "running", "graph_name": graph_id}, id=f"running:{event.id.attempt}")
    elif channel in ("values", "updates", "custom", "tasks"):
        data = orjson.loads(event.data)
        if channel == "values" and isinstance(data, dict):
            data.pop("__interrupt__", None)
        if not (channel == "updates" and "__interrupt__" in data):
            yield Frame(channel, namespace, data, id=str(event.id))


def _ending(end: bytes, graph_id: str) -> Iterator[Frame]:
    """Give the frames of a run's end: what it asks, then how it has ended."""
    status, _, result = end.decode().partition("\n")
    given = orjson.loads(result)
    data = {"event": "interrupted", "graph_name": graph_id}
    if isinstance(given, dict) and "__error__" in given:
        data |= {"event": "failed", "error": given["__error__"]["message"]}
    elif isinstance(given, dict) and "__interrupt__" in given:
        yield from map(question, given["__interrupt__"])
    elif status == RunStatus.SUCCESS:
        data["event"] = "completed"
    yield Frame(LIFECYCLE, [], data, id="end")
