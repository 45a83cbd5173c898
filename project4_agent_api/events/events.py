"""The events of runs, on their way through Redis: written by workers, read by any API process, from any point.

    worker ── Publisher ──> stream of the run (kept, bounded) ──┐
                       └──> channel of the run ─────────────────┴── Subscriber ── reader, reader, …

What happens within one turn of a worker's event loop goes out as one pipeline, each run's events as one entry; one
pipeline at a time, so that they cannot overtake each other. An event's id is `attempt-number`: every id of a run's
second attempt is higher than those of its first, and Redis refuses what a worker writes that was presumed dead. A
reader listens, then reads what was kept, and notices by the numbers if something is missing between.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple
from uuid import UUID

import ormsgpack
from loguru import logger
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from shared.background import in_background
from shared.errors import RedisUnavailable, ServiceError
from shared.redis.client import REDIS_AWAY, Client, Outage, redis_errors

# The last event of a run: never shown. Its data say how the run has ended, and what it gave, unless that is long.
END = "end"
OMITTED = "omitted"  # stands for an event that was too large: its name and size
SILENCE = b""  # heard where nothing was said for so long that whoever had something to say may have died before
_MOST_ENTRIES = 10_000  # of a run's stream; the oldest are forgotten
_MOST_BYTES = 16 * 1024 * 1024  # that wait to be written, of all runs; beyond it the runs wait
_MOST_MESSAGES = 1000  # that wait for one reader; of one that is slower, the stream is read again
_MOST_MESSAGE_BYTES = _MOST_BYTES  # that wait for one reader, unless it is one message; likewise
_MOST_END_BYTES = 64 * 1024  # of an end with what the run gave; without it, if that is more
_LAST_WORDS_SECONDS = 3.0
_CONFIRM_SECONDS = 2.0
_LEAVE_SECONDS = 1.0  # after which a channel is left at the latest that nobody listens to
_BACK_OFF_SECONDS = 0.5
_LAST_SECONDS = 2.0  # for what is left to be written at the end


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


async def announce_end(
    redis: Client, thread_id: UUID, run_id: UUID, attempt: int, data: bytes, kept_seconds: int
) -> None:
    """Say the end of a run that no worker is at.

    Args:
        redis: A client. Where it is away nothing is said: whoever waits asks the database when it is back.
        thread_id: Its thread.
        run_id: Which run.
        attempt: A number that no worker has written events with.
        data: How it ended.
        kept_seconds: How long its stream is kept.
    """
    key, entry = redis.key(stream_of(run_id)), pack(attempt, 1, [(END, data)])
    pipeline = redis.pipeline(transaction=False)
    pipeline.xadd(key, {"e": entry}, id=str(EventId(attempt, 1)))
    pipeline.publish(key, entry)
    pipeline.expire(key, kept_seconds)
    pipeline.publish(redis.key(end_of(run_id)), data)
    pipeline.publish(redis.key(thread_of(thread_id)), str(run_id))
    with contextlib.suppress(*REDIS_AWAY):
        await pipeline.execute(raise_on_error=False)


def pack(attempt: int, first: int, events: list[tuple[str, bytes]]) -> bytes:
    """Make an entry of events that follow each other."""
    return ormsgpack.packb((attempt, first, events))


def unpack(entry: bytes) -> Iterator[Event]:
    """Give the events of an entry."""
    attempt, first, events = ormsgpack.unpackb(entry)
    for number, (name, data) in enumerate(events, start=first):
        yield Event(EventId(attempt, number), name, data)


class RunPublisher:
    """Takes the events of one attempt at a run."""

    def __init__(self, publisher: "Publisher", thread_id: UUID, run_id: UUID, attempt: int) -> None:
        self.thread_id = thread_id
        self.run_id = run_id
        self.attempt = attempt
        self.last = 0
        self.waiting: list[tuple[str, bytes]] = []
        self.kept: deque[tuple[EventId, int]] = deque()  # what the stream holds: each entry's id, and its size
        self.kept_bytes = 0
        self.end = b""
        self._publisher = publisher

    def put(self, name: str, data: bytes) -> None:
        """Send an event, soon. In place of one that is larger than all that is kept, its size is sent."""
        if len(data) > self._publisher.most_bytes:
            name, data = OMITTED, b'{"event":"%b","bytes":%d}' % (name.encode(), len(data))
        self.waiting.append((name, data))
        self._publisher.add(self, len(data))

    def put_end(self, status: str, result: bytes | None) -> None:
        """Send the end, soon.

        Args:
            status: How the run has ended.
            result: What whoever waits is given; None if they are to ask the database. The stream does without
                a large one.
        """
        self.end = status.encode() if result is None else b"%b\n%b" % (status.encode(), result)
        self.put(END, self.end if len(self.end) <= _MOST_END_BYTES else status.encode())

    async def room(self) -> None:
        """Wait while too much waits to be written."""
        await self._publisher.room()


class Publisher:
    """Writes the events of all runs of a process.

    Args:
        redis: A client.
        kept_seconds: How long a stream is kept after its last event.
        longest_seconds: How long it is kept without one: a run may say nothing for as long as it may take.
        most_bytes: How much of an attempt's events a stream holds, about: what is written at once is one entry.
    """

    def __init__(self, redis: Client, *, kept_seconds: int, longest_seconds: int, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._redis = redis
        self._kept = kept_seconds
        self._longest = longest_seconds
        self._runs: dict[UUID, RunPublisher] = {}
        self._bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    def of(self, thread_id: UUID, run_id: UUID, attempt: int) -> RunPublisher:
        """Return what takes the events of an attempt at a run of a thread."""
        return RunPublisher(self, thread_id, run_id, attempt)

    def add(self, run: RunPublisher, size: int) -> None:
        """Note that a run has something to be written."""
        self._runs[run.run_id] = run
        self._bytes += size
        if self._bytes > _MOST_BYTES:
            self._room.clear()
        self._idle.clear()
        self._news.set()

    async def room(self) -> None:
        """Wait while too much waits to be written."""
        await self._room.wait()

    async def flush(self) -> None:
        """Wait until all that was put is written."""
        await self._idle.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write while the block runs, and what is left at its end."""
        async with in_background(self._run()):
            yield
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self.flush()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, size = self._take()
            # What cannot be written yet is kept, and the runs go on until it is too much.
            try:
                while not await self._write(batch):  # noqa: ASYNC110  another's server sets no event here
                    await asyncio.sleep(_BACK_OFF_SECONDS)
            except Exception as error:  # noqa: BLE001  of one batch; whoever misses its ends asks the database
                logger.opt(exception=error).error("events are lost: {}", type(error).__name__)
            self._bytes -= size
            if self._bytes <= _MOST_BYTES:
                self._room.set()
            if not self._runs:
                self._idle.set()

    def _take(self) -> tuple["_Entries", int]:
        runs, self._runs = self._runs, {}
        entries: _Entries = []
        for run in runs.values():
            first, run.last = run.last + 1, run.last + len(run.waiting)
            entries.append(_Entry(run, first, run.waiting, self._keep(run)))
            run.waiting = []
        return entries, self._bytes

    def _keep(self, run: RunPublisher) -> EventId | None:
        """Note what a run's stream is about to hold; return the first entry that it goes on holding, if not all."""
        size = sum(len(data) for _, data in run.waiting)
        run.kept.append((EventId(run.attempt, run.last), size))
        run.kept_bytes += size
        before = len(run.kept)
        while run.kept_bytes > self.most_bytes and len(run.kept) > 1:
            run.kept_bytes -= run.kept.popleft()[1]
        return run.kept[0][0] if len(run.kept) < before else None

    async def _write(self, entries: "_Entries") -> bool:
        """Write entries; say whether that is done with."""
        pipeline = self._redis.pipeline(transaction=False)
        for run, first, events, kept_from in entries:
            key, entry = self._redis.key(stream_of(run.run_id)), pack(run.attempt, first, events)
            last = EventId(run.attempt, first + len(events) - 1)
            pipeline.xadd(key, {"e": entry}, id=str(last), maxlen=_MOST_ENTRIES, approximate=True)
            if kept_from:
                pipeline.xtrim(key, minid=str(kept_from), approximate=False)
            pipeline.publish(key, entry)
            if first == 1:
                pipeline.publish(self._redis.key(thread_of(run.thread_id)), str(run.run_id))
            name, _ = events[-1]
            pipeline.expire(key, self._kept if name == END else self._longest)
            if name == END:
                pipeline.publish(self._redis.key(end_of(run.run_id)), run.end)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except REDIS_AWAY as error:
            logger.warning("events cannot be written: {}", type(error).__name__)
            return False
        for answer in answers:
            if isinstance(answer, OutOfMemoryError):  # whoever listens now was told even so
                logger.warning("Redis is full: events are not kept")
            elif isinstance(answer, ResponseError):  # a later attempt has begun, or this entry was written before
                logger.debug("events were refused: {}", answer)
        return not any(isinstance(answer, REDIS_AWAY) for answer in answers)


class _Entry(NamedTuple):
    run: RunPublisher
    first: int
    events: list[tuple[str, bytes]]
    kept_from: EventId | None


_Entries = list[_Entry]


class Messages(asyncio.Queue[bytes | None]):
    """What was said to somebody, and how many bytes that is."""

    size = 0

    def _put(self, item: bytes | None) -> None:
        self.size += len(item or b"")
        super()._put(item)

    def _get(self) -> bytes | None:
        item = super()._get()
        self.size -= len(item or b"")
        return item


@dataclass(eq=False)
class Listener:
    """Somebody who listens to a channel.

    Attributes:
        messages: What was said. None stands for what may have been missed.
        heard: Set as soon as what is said is heard.
    """

    messages: Messages = field(default_factory=Messages)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def hears(self) -> None:
        """Wait until what is said is heard. Where that cannot be had in time, something may be missed."""
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self.heard.wait()
        except TimeoutError:
            self.hear(None)

    async def next(self, patience: float) -> bytes | None:
        """Wait for what is said next; hear `SILENCE` after so many seconds without a word, unless Redis is away."""
        try:
            async with asyncio.timeout(patience):
                return await self.messages.get()
        except TimeoutError:
            await self.heard.wait()
            return SILENCE

    def hear(self, message: bytes | None) -> None:
        """Take a message. Of somebody who does not keep up, all that waits is dropped: it is kept in the stream."""
        waiting = self.messages
        too_large = not waiting.empty() and waiting.size + len(message or b"") > _MOST_MESSAGE_BYTES
        if too_large or waiting.qsize() >= _MOST_MESSAGES:
            while not waiting.empty():
                waiting.get_nowait()
            message = None
        waiting.put_nowait(message)

    async def hear_again(self, message: bytes | None = None) -> None:
        """Take a message a moment later: one that nothing can be done about as long as a server is away."""
        await asyncio.sleep(_BACK_OFF_SECONDS)
        self.hear(message)


class Subscriber:
    """One connection of a process, on which it hears the channels that anyone in it listens to.

    Args:
        redis: A client whose answers may take for ever.
    """

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._connection: AbstractConnection | None = None
        self._listeners: dict[bytes, set[Listener]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._missed: set[bytes] = set()  # channels that were not heard for a while
        self._left: set[bytes] = set()  # channels that are still heard, though nobody listens
        self._leaving = asyncio.Event()
        self._outage = Outage("its channels are not heard")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the block runs; a connection that broke is made again."""
        async with in_background(self._run()), in_background(self._leave()):
            yield

    @asynccontextmanager
    async def listen(self, channel: str, *, soon: bool = False) -> AsyncIterator[Listener]:
        """Listen to a channel while the block runs: what is said from now on is heard.

        Args:
            channel: Its name.
            soon: Whether the block may begin when that is asked for, to wait for `Listener.hears` when it needs it.

        Raises:
            RedisUnavailable: if Redis is away now. What is lost later is told to the listener.
        """
        name = self._redis.key(channel).encode()
        if name not in self._listeners:
            self._listeners[name] = set()
            self._confirmed[name] = asyncio.Event()
            await self._subscribe(name)
        listener = Listener(heard=self._confirmed[name])
        self._listeners[name].add(listener)
        try:
            if not soon or self._connection is None:
                try:
                    async with asyncio.timeout(_CONFIRM_SECONDS):
                        await listener.heard.wait()
                except TimeoutError:
                    raise RedisUnavailable("Redis cannot be reached. Try again shortly.") from None
            yield listener
        finally:
            listeners = self._listeners[name]
            listeners.discard(listener)
            if not listeners:
                del self._listeners[name], self._confirmed[name]
                self._missed.discard(name)
                self._left.add(name)
                self._leaving.set()

    async def follow(
        self,
        run_id: UUID,
        listener: Listener,
        after: EventId = START,
        *,
        patience: float,
        over_for: Callable[[], Awaitable[float | None]],
    ) -> AsyncGenerator[Event]:
        """Give the events of a run until its end, which is the last.

        Args:
            run_id: Which run.
            listener: To its channel. What it has heard is taken as it comes; to read what was said before it listened,
                let it hear None first.
            after: Only events after this one.
            patience: After how many seconds of silence the end may have been missed.
            over_for: Asks the database, where the end may have been missed for good: for how many seconds the run has
                been over; None if it is not.
        """
        last = after
        waits = patience
        while True:
            message = await listener.next(waits)
            events = list(unpack(message)) if message else []
            if not events or _is_gap(last, events[0].id):
                try:
                    over = await over_for()  # before reading: what was written until then is all there
                    events = await self._kept(run_id, last)
                except ServiceError:
                    waits = patience
                    if message != SILENCE:
                        await listener.hear_again()  # who is away comes back, and this can wait
                    continue
                # What its worker could not write yet, because Redis was away, comes within some seconds.
                waits = patience if over is None else max(0.0, _LAST_WORDS_SECONDS - over)
            for event in events:
                if event.id > last:
                    yield event
                    last = event.id
                    if event.name == END:
                        return
            if waits == 0:
                return

    async def _kept(self, run_id: UUID, last: EventId) -> list[Event]:
        with redis_errors():
            entries: Any = await self._redis.xrange(self._redis.key(stream_of(run_id)), min=f"({last}", max="+")
        return [event for _, fields in entries for event in unpack(fields[b"e"])]

    async def _subscribe(self, *names: bytes) -> None:
        """Subscribe to channels, and leave those that nobody listens to any more: both is one message."""
        connection = self._connection
        if connection is None:
            return  # whoever connects subscribes to all that is listened to
        left = self._left - self._listeners.keys()
        self._left.clear()
        commands: list[tuple[str | bytes, ...]] = [("UNSUBSCRIBE", *left)] if left else []
        if names:
            commands.append(("SUBSCRIBE", *names))
        if commands:
            # Where it is away the reader notices too.
            with contextlib.suppress(*REDIS_AWAY):
                await connection.send_packed_command(connection.pack_commands(commands))

    async def _leave(self) -> None:
        """Leave channels that nobody listens to, though no other is listened to instead."""
        while True:
            await self._leaving.wait()
            await asyncio.sleep(_LEAVE_SECONDS)
            self._leaving.clear()
            await self._subscribe()

    async def _run(self) -> None:
        while True:
            connection: AbstractConnection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                self._outage.is_over()
                self._connection = connection
                self._left.clear()
                await self._subscribe(*self._listeners)
                while True:
                    self._take(await connection.read_response(timeout=inf))
            except (*REDIS_AWAY, RedisError) as error:
                self._outage.goes_on(error)
            finally:
                self._connection = None
                await connection.disconnect(nowait=True)
            for channel, confirmed in self._confirmed.items():
                if confirmed.is_set():
                    confirmed.clear()
                    self._missed.add(channel)
            await asyncio.sleep(_BACK_OFF_SECONDS)

    def _take(self, answer: list[Any]) -> None:
        kind, channel, data = answer
        if kind == b"message":
            for listener in self._listeners.get(channel, ()):
                listener.hear(data)
        elif kind == b"subscribe" and channel in self._confirmed:
            self._confirmed[channel].set()
            if channel in self._missed:
                self._missed.discard(channel)
                for listener in self._listeners[channel]:
                    listener.hear(None)


def _is_gap(last: EventId, first: EventId) -> bool:
    """Say whether there may be events between one that was read and the first of an entry."""
    if first.attempt == last.attempt:
        return first.number > last.number + 1
    return first.attempt > last.attempt and first.number > 1
