"""Publish the events of runs through Redis.

    worker ── Publisher ──> stream of the run (stored, bounded) ──┐
                       └──> channel of the run ───────────────────┴── Subscriber ── client, client, …

The events of one turn of a worker's event loop leave as one pipeline, with one entry for each run. Only one pipeline is
in flight, so entries cannot overtake each other. An event's id is `attempt-number`: every id of a run's second attempt
is higher than those of its first, so Redis rejects what a worker writes that was presumed dead.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Self
from uuid import UUID

from loguru import logger
from redis.exceptions import OutOfMemoryError, ResponseError

from project3_rag_docs.settings import MIB
from project4_agent_api.events.ids import END, OMITTED, EventId, pack, run_end_channel, run_stream, thread_channel
from project4_agent_api.events.kept_streams import KeptStreams
from project4_agent_api.settings import Settings
from shared.background import background_task
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

MAX_PENDING_BYTES = 16 * 1024 * 1024  # of all runs, not yet written; above it the runs wait
_ENTRIES_PER_STREAM = 16  # at least, in a stream of the maximum size
_MAX_ENTRIES = 10_000  # in a run's stream; the oldest are dropped
_MAX_END_BYTES = 64 * 1024  # of an `end` event; a longer result is left out
_BACK_OFF_SECONDS = 0.5
_FLUSH_SECONDS = 2.0  # for the last events at shutdown


async def publish_end(
    redis: RedisClient, thread_id: UUID, run_id: UUID, attempt: int, data: bytes, kept_seconds: int
) -> None:
    """Publish the end of a run that no worker is executing.

    While Redis is unavailable nothing is published: subscribers check the database when it has recovered.

    Args:
        attempt: A number under which no worker has published events.
        data: The status, a line break, and the result as JSON.
        kept_seconds: How long the stream is kept.
    """
    key, entry = redis.key(run_stream(run_id)), pack(attempt, 1, [(END, data)])
    pipeline = redis.pipeline(transaction=False)
    pipeline.xadd(key, {"e": entry}, id=str(EventId(attempt, 1)))
    pipeline.publish(key, entry)
    pipeline.expire(key, kept_seconds)
    pipeline.publish(redis.key(run_end_channel(run_id)), data)
    pipeline.publish(redis.key(thread_channel(thread_id)), str(run_id))
    with contextlib.suppress(*REDIS_UNAVAILABLE):
        await pipeline.execute(raise_on_error=False)


class RunPublisher:
    """Publisher of the events of one attempt at a run."""

    def __init__(self, publisher: "Publisher", owner_id: UUID, thread_id: UUID, run_id: UUID, attempt: int) -> None:
        self.owner_id = owner_id
        self.thread_id = thread_id
        self.run_id = run_id
        self.attempt = attempt
        self.last = 0
        self.pending: list[tuple[str, bytes]] = []
        self.stored: deque[tuple[EventId, int]] = deque()  # ids and sizes of the entries in the stream
        self.stored_bytes = 0
        self.end = b""
        self._publisher = publisher

    def put(self, name: str, data: bytes) -> None:
        """Queue an event. One that is larger than a whole stream may be is replaced by its name and size."""
        if len(data) > self._publisher.max_stream_bytes:
            name, data = OMITTED, b'{"event":"%b","bytes":%d}' % (name.encode(), len(data))
        self.pending.append((name, data))
        self._publisher.add(self, len(data))

    def put_end(self, status: str, result: bytes | None) -> None:
        """Queue the end.

        Args:
            result: The result as JSON; None if subscribers must read it from the database. A large one is left out of
                the stream, but not of the channel.
        """
        self.end = status.encode() if result is None else b"%b\n%b" % (status.encode(), result)
        self.put(END, self.end if len(self.end) <= _MAX_END_BYTES else status.encode())

    async def wait_for_capacity(self) -> None:
        """Wait while too many bytes are not yet written."""
        await self._publisher.wait_for_capacity()


class Publisher:
    """Publisher of the events of all runs of a process.

    Args:
        kept_seconds: How long a stream is kept after the run's end.
        idle_kept_seconds: How long it is kept without an event: a run may be silent for as long as it may last.
        max_stream_bytes: Approximate size of a stream; the newest entry is kept even if it alone is larger.
        max_owner_bytes: Approximate size of the streams of one user's ended runs; the oldest are deleted.
    """

    def __init__(
        self,
        redis: RedisClient,
        *,
        kept_seconds: int,
        idle_kept_seconds: int,
        max_stream_bytes: int,
        max_owner_bytes: int,
    ) -> None:
        self.max_stream_bytes = max_stream_bytes
        self._kept = KeptStreams(redis, kept_seconds, max_owner_bytes)
        self._redis = redis
        self._kept_seconds = kept_seconds
        self._idle_kept_seconds = idle_kept_seconds
        self._pending: dict[UUID, RunPublisher] = {}
        self._pending_bytes = 0
        self._has_pending = asyncio.Event()
        self._has_capacity = asyncio.Event()
        self._has_capacity.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def from_settings(cls, settings: Settings, redis: RedisClient) -> Self:
        """Create the publisher of a worker."""
        return cls(
            redis,
            kept_seconds=settings.run_events_seconds,
            idle_kept_seconds=int(settings.run_timeout_seconds) + settings.run_events_seconds,
            max_stream_bytes=settings.run_events_kb * 1024,
            max_owner_bytes=settings.user_events_mb * MIB,
        )

    def for_attempt(self, owner_id: UUID, thread_id: UUID, run_id: UUID, attempt: int) -> RunPublisher:
        """Return the publisher of an attempt at a run."""
        return RunPublisher(self, owner_id, thread_id, run_id, attempt)

    def add(self, run: RunPublisher, size: int) -> None:
        """Note that a run has events to be written."""
        self._pending[run.run_id] = run
        self._pending_bytes += size
        if self._pending_bytes > MAX_PENDING_BYTES:
            self._has_capacity.clear()
        self._idle.clear()
        self._has_pending.set()

    async def wait_for_capacity(self) -> None:
        """Wait while too many bytes are not yet written."""
        await self._has_capacity.wait()

    async def flush(self) -> None:
        """Wait until all queued events are written."""
        await self._idle.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write events while the block runs, and flush at its end."""
        async with background_task(self._run()):
            yield
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self.flush()

    async def _run(self) -> None:
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            batch, size = self._take_batch()
            # While Redis is unavailable the batch is kept, and the runs continue until they exceed the capacity.
            try:
                while not await self._write(batch):  # noqa: ASYNC110  another process sets no event here
                    await asyncio.sleep(_BACK_OFF_SECONDS)
            except Exception as error:  # noqa: BLE001  only this batch is lost; waiters read its ends in the database
                logger.opt(exception=error).error("a batch of run events was lost: {}", type(error).__name__)
            self._pending_bytes -= size
            if self._pending_bytes <= MAX_PENDING_BYTES:
                self._has_capacity.set()
            if not self._pending:
                self._idle.set()

    def _take_batch(self) -> tuple["_Entries", int]:
        runs, self._pending = self._pending, {}
        entries: _Entries = []
        for run in runs.values():
            for events in _split(run.pending, self.max_stream_bytes // _ENTRIES_PER_STREAM):
                first, run.last = run.last + 1, run.last + len(events)
                entries.append(_Entry(run, first, events, self._account_for(run, events)))
            run.pending = []
        return entries, self._pending_bytes

    def _account_for(self, run: RunPublisher, events: "_Events") -> EventId | None:
        """Record the next entry of a run's stream. Return the oldest entry to keep if older ones must be trimmed."""
        size = sum(len(data) for _, data in events)
        run.stored.append((EventId(run.attempt, run.last), size))
        run.stored_bytes += size
        before = len(run.stored)
        while run.stored_bytes > self.max_stream_bytes and len(run.stored) > 1:
            run.stored_bytes -= run.stored.popleft()[1]
        return run.stored[0][0] if len(run.stored) < before else None

    async def _write(self, entries: "_Entries") -> bool:
        """Write entries. Return False if they must be written again."""
        pipeline = self._redis.pipeline(transaction=False)
        for run, first, events, oldest_kept in entries:
            key, entry = self._redis.key(run_stream(run.run_id)), pack(run.attempt, first, events)
            last = EventId(run.attempt, first + len(events) - 1)
            pipeline.xadd(key, {"e": entry}, id=str(last), maxlen=_MAX_ENTRIES, approximate=True)
            if oldest_kept:
                pipeline.xtrim(key, minid=str(oldest_kept), approximate=False)
            pipeline.publish(key, entry)
            if first == 1:
                pipeline.publish(self._redis.key(thread_channel(run.thread_id)), str(run.run_id))
            name, _ = events[-1]
            pipeline.expire(key, self._kept_seconds if name == END else self._idle_kept_seconds)
            if name == END:
                pipeline.publish(self._redis.key(run_end_channel(run.run_id)), run.end)
                self._kept.add(pipeline, run.owner_id, run.run_id, run.stored_bytes)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except REDIS_UNAVAILABLE as error:
            logger.warning("Redis is unavailable ({}); run events wait in memory", type(error).__name__)
            return False
        for answer in answers:
            if isinstance(answer, OutOfMemoryError):  # current subscribers received the events nevertheless
                logger.warning("Redis is out of memory; run events are published but not stored")
            elif isinstance(answer, ResponseError):  # a later attempt has started, or this entry was written before
                logger.debug("run events were rejected: {}", answer)
        await self._kept.delete_exceeding(answers)
        return not any(isinstance(answer, REDIS_UNAVAILABLE) for answer in answers)


def _split(events: "_Events", max_bytes: int) -> Iterator["_Events"]:
    """Split events into entries. Streams are trimmed by whole entries, and the last events must not go with others."""
    entry: _Events = []
    size = 0
    for event in events:
        if entry and size + len(event[1]) > max_bytes:
            yield entry
            entry, size = [], 0
        entry.append(event)
        size += len(event[1])
    if entry:
        yield entry


_Events = list[tuple[str, bytes]]


class _Entry(NamedTuple):
    run: RunPublisher
    first: int
    events: _Events
    oldest_kept: EventId | None


_Entries = list[_Entry]
