"""The stream of a thread in the streaming protocol: run after run, from any point, until the client disconnects.

Stored events are replayed, then new ones follow; the next run is announced by a message, not polled for. A run that was
not started through the protocol appears while it is executed: its lifecycle, and those of its events that have the same
form. It is not replayed later: clients take the first end that they read for the end of the run that they started.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import dumps
from project4_agent_api.events.ids import END, OMITTED, Event, run_stream
from project4_agent_api.events.sse import encode
from project4_agent_api.events.subscriber import IDLE, Subscription
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.replay import ThreadReplay
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.runs.subscription import RunSubscription
from project4_agent_api.streams.protocol.frames import (
    CUSTOM,
    INPUT,
    LIFECYCLE,
    PER_MILLISECOND,
    Frame,
    channel_of_custom,
    question,
)
from project4_agent_api.streams.protocol.schemas import EventStreamRequest
from shared.errors import DatabaseUnavailable, NotFound, ServiceError, Unauthorized

_BACK_OFF_SECONDS = 0.5
# Events of every run that are not frames: the protocol expresses them differently, or not at all.
_NOT_FRAMES = ("metadata", "error", OMITTED)


@dataclass
class ThreadStream:
    """The stream of a thread for one client.

    Attributes:
        replay: The runs of the thread, which need not exist yet.
        subscription: A subscription to the thread's channel.
        started: The runs that have started when the stream is opened.
    """

    runs: Runs
    replay: ThreadReplay
    request: EventStreamRequest
    subscription: Subscription
    started: list[Row]
    _last: int = field(default=0, init=False)  # the number of the last frame, whether it was requested or not

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the events, encoded for the client, until the generator is closed."""
        seen = [run["run_id"] for run in self.started if _is_past(run)]
        started = [run for run in self.started if not _is_past(run)]
        while True:
            for run in started:
                seen.append(run["run_id"])
                async with aclosing(self._follow(run)) as frames:
                    async for data in frames:
                        if event := self._encode(data):
                            yield event
            message = None if started else await self.subscription.next(self.runs.idle_timeout)
            try:
                started = await self.replay.list_started(seen)
            except DatabaseUnavailable:
                started = []
                if message != IDLE:
                    await self.subscription.receive_later()

    def _encode(self, data: bytes) -> bytes | None:
        frame = orjson.loads(data)
        if frame["seq"] <= (self.request.since or 0):
            return None
        return encode(frame["method"], data, str(frame["seq"]))

    async def _follow(self, run: Row) -> AsyncGenerator[bytes]:
        """Yield the requested frames of a run, up to its end."""
        newest: bytes | None = None
        end: bytes | None = None
        key = self._key(run)
        async with self._subscribe(run) as subscription:
            async for event in RunSubscription(self.runs, key, subscription).follow():
                if event.name == END:
                    end = event.data if b"\n" in event.data else None  # a long result is only in the database
                elif not run["protocol"]:
                    for data in self._number(run, _frames_of_other_run(event, run["graph_id"]), run["created_at"]):
                        yield data
                elif event.name not in _NOT_FRAMES:
                    newest = event.data
                    if self._is_requested(event):
                        yield event.data
        at = run["updated_at"]
        if newest:
            frame = orjson.loads(newest)
            self._last = frame["seq"]
            at = datetime.fromtimestamp(frame["params"]["timestamp"] / 1000, UTC)
        # If the events have expired, the end and the questions come from the database.
        ending = _frames_of_end(end or await self._stored_end(key), run["graph_id"])
        if end and run["protocol"]:  # its worker has published the questions
            ending = (frame for frame in ending if frame.channel != INPUT)
        for data in self._number(run, ending, at):
            yield data

    def _is_requested(self, frame: Event) -> bool:
        channel, *namespace = frame.name.split("|")
        if channel == CUSTOM:
            channel = channel_of_custom(orjson.loads(frame.data)["params"]["data"])
        return self.request.includes(channel, namespace)

    def _key(self, run: Row) -> RunKey:
        return RunKey(self.replay.owner_id, self.replay.thread_id, run["run_id"])

    @asynccontextmanager
    async def _subscribe(self, run: Row) -> AsyncIterator[Subscription]:
        """Subscribe to a run from its first event. The events of a finished run are all in its stream."""
        if run["status"] == RunStatus.RUNNING:
            async with self.runs.subscriber.subscribe(run_stream(run["run_id"])) as subscription:
                subscription.receive(None)
                yield subscription
        else:
            subscription = Subscription()
            subscription.active.set()
            subscription.receive(None)
            yield subscription

    async def _stored_end(self, key: RunKey) -> bytes:
        while True:
            try:
                run = await self.runs.get(key)
                result = await self.runs.result_if_finished(key)
            except NotFound:
                return b"rollback\n{}"
            except DatabaseUnavailable:
                await asyncio.sleep(_BACK_OFF_SECONDS)
            else:
                return f"{run['status']}\n".encode() + (result or b"{}")

    def _number(self, run: Row, frames: Iterator[Frame], at: datetime) -> Iterator[bytes]:
        """Number frames that no worker has numbered, and yield those that were requested.

        Args:
            at: Approximate time of the frames, which must be the same for every client.
        """
        milliseconds = int(at.timestamp() * 1000)
        for frame in frames:
            # A worker's frames of that time come before, and a client that has read them must receive these.
            self._last = max(self._last, milliseconds * PER_MILLISECOND) + 1
            channel = channel_of_custom(frame.data) if frame.channel == CUSTOM else frame.channel
            if self.request.includes(channel, list(frame.namespace)):
                yield dumps(frame._replace(timestamp=milliseconds).encode(run["run_id"], self._last))


def encode_error(error: ServiceError, request_id: str | None) -> bytes:
    """Return an error as the protocol's message that no command asked for, the last one of a stream."""
    code = "permission_denied" if isinstance(error, Unauthorized) else "unknown_error"
    frame = {"type": "error", "id": None, "error": code, "message": error.detail, "status": error.status}
    return encode("error", dumps(frame | ({"request_id": request_id} if request_id else {})), None)


def _is_past(run: Row) -> bool:
    """Return whether a run is left out of streams that are opened now."""
    return not run["protocol"] and run["status"] != RunStatus.RUNNING


def _frames_of_other_run(event: Event, graph_id: str) -> Iterator[Frame]:
    """Yield the frames for an event of a run that was not started through the protocol."""
    channel, *namespace = event.name.split("|")
    if channel == "metadata":
        yield Frame(LIFECYCLE, [], {"event": "running", "graph_name": graph_id}, id=f"running:{event.id.attempt}")
    elif channel in ("values", "updates", "custom", "tasks"):
        data = orjson.loads(event.data)
        if channel == "values" and isinstance(data, dict):
            data.pop("__interrupt__", None)
        if not (channel == "updates" and "__interrupt__" in data):
            yield Frame(channel, namespace, data, id=str(event.id))


def _frames_of_end(end: bytes, graph_id: str) -> Iterator[Frame]:
    """Yield the frames of a run's end: its questions, then how it ended."""
    status, _, text = end.decode().partition("\n")
    result = orjson.loads(text)
    data = {"event": "interrupted", "graph_name": graph_id}
    if isinstance(result, dict) and "__error__" in result:
        data |= {"event": "failed", "error": result["__error__"]["message"]}
    elif isinstance(result, dict) and "__interrupt__" in result:
        yield from map(question, result["__interrupt__"])
    elif status == RunStatus.SUCCESS:
        data["event"] = "completed"
    yield Frame(LIFECYCLE, [], data, id="end")
