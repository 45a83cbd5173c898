"""The writing side of a run's events."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

from loguru import logger
from redis.exceptions import OutOfMemoryError, ResponseError

from project4_agent_api.events.ids import END, OMITTED, EventId, end_of, pack, stream_of, thread_of
from shared.background import background_task
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

_MOST_ENTRIES = 10_000  # of a run's stream; the oldest are forgotten
MOST_BYTES = 16 * 1024 * 1024  # that wait to be written, of all runs; beyond it the runs wait
_MOST_END_BYTES = 64 * 1024  # of an end with what the run gave; without it, if that is more
_BACK_OFF_SECONDS = 0.5
_LAST_SECONDS = 2.0  # for what is left to be written at the end


async def announce_end(
    redis: RedisClient, thread_id: UUID, run_id: UUID, attempt: int, data: bytes, kept_seconds: int
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
    with contextlib.suppress(*REDIS_UNAVAILABLE):
        await pipeline.execute(raise_on_error=False)


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

    def __init__(self, redis: RedisClient, *, kept_seconds: int, longest_seconds: int, most_bytes: int) -> None:
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
        if self._bytes > MOST_BYTES:
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
        async with background_task(self._run()):
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
            if self._bytes <= MOST_BYTES:
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
        except REDIS_UNAVAILABLE as error:
            logger.warning("events cannot be written: {}", type(error).__name__)
            return False
        for answer in answers:
            if isinstance(answer, OutOfMemoryError):  # whoever listens now was told even so
                logger.warning("Redis is full: events are not kept")
            elif isinstance(answer, ResponseError):  # a later attempt has begun, or this entry was written before
                logger.debug("events were refused: {}", answer)
        return not any(isinstance(answer, REDIS_UNAVAILABLE) for answer in answers)


class _Entry(NamedTuple):
    run: RunPublisher
    first: int
    events: list[tuple[str, bytes]]
    kept_from: EventId | None


_Entries = list[_Entry]
