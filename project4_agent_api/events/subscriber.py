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
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any
from uuid import UUID

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from project4_agent_api.events.ids import END, START, Event, EventId, stream_of, unpack
from project4_agent_api.events.publisher import MOST_BYTES
from shared.background import background_task
from shared.errors import RedisUnavailable, ServiceError
from shared.redis.client import REDIS_UNAVAILABLE, CircuitBreaker, RedisClient, redis_errors

SILENCE = b""  # heard where nothing was said for so long that whoever had something to say may have died before
_MOST_MESSAGES = 1000  # that wait for one reader; of one that is slower, the stream is read again
_MOST_MESSAGE_BYTES = MOST_BYTES  # that wait for one reader, unless it is one message; likewise
_LAST_WORDS_SECONDS = 3.0
_CONFIRM_SECONDS = 2.0
_LEAVE_SECONDS = 1.0  # after which a channel is left at the latest that nobody listens to
_BACK_OFF_SECONDS = 0.5


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

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._connection: AbstractConnection | None = None
        self._listeners: dict[bytes, set[Listener]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._missed: set[bytes] = set()  # channels that were not heard for a while
        self._left: set[bytes] = set()  # channels that are still heard, though nobody listens
        self._leaving = asyncio.Event()
        self._outage = CircuitBreaker("its channels are not heard")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the block runs; a connection that broke is made again."""
        async with background_task(self._run()), background_task(self._leave()):
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
            with contextlib.suppress(*REDIS_UNAVAILABLE):
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
                self._outage.record_success()
                self._connection = connection
                self._left.clear()
                await self._subscribe(*self._listeners)
                while True:
                    self._take(await connection.read_response(timeout=inf))
            except (*REDIS_UNAVAILABLE, RedisError) as error:
                self._outage.record_failure(error)
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
