"""Receive run events and other messages from Redis: one connection for all subscriptions of a process.

A client of a run's events subscribes to its channel, then reads the stored stream, and recognises by the sequence
numbers whether events are missing between the two.
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

from project4_agent_api.events.ids import END, START, Event, EventId, run_stream, unpack
from project4_agent_api.events.publisher import MAX_PENDING_BYTES
from shared.background import background_task
from shared.errors import RedisUnavailable, ServiceError
from shared.redis.circuit_breaker import CircuitBreaker
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient, redis_errors

IDLE = b""  # returned by `Subscription.next` when the channel was silent and its publisher may have died
_MAX_MESSAGES = 1000  # that wait for one subscriber; a slower one reads the stream again
_MAX_MESSAGE_BYTES = MAX_PENDING_BYTES  # that wait for one subscriber, unless they are one message
_LATE_EVENTS_SECONDS = 3.0  # after a run's end, for events that waited while Redis was unavailable
_SUBSCRIBE_SECONDS = 2.0
_UNSUBSCRIBE_SECONDS = 1.0  # after which an unused channel is left, at the latest
_BACK_OFF_SECONDS = 0.5


class _MessageQueue(asyncio.Queue[bytes | None]):
    """A queue that knows the total size of its messages."""

    size = 0

    def _put(self, item: bytes | None) -> None:
        self.size += len(item or b"")
        super()._put(item)

    def _get(self) -> bytes | None:
        item = super()._get()
        self.size -= len(item or b"")
        return item


@dataclass(eq=False)
class Subscription:
    """A subscription to one channel.

    Attributes:
        messages: Received messages. None stands for messages that may have been missed.
        active: Set while Redis delivers the channel's messages.
    """

    messages: _MessageQueue = field(default_factory=_MessageQueue)
    active: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_active(self) -> None:
        """Wait until messages are delivered. If that takes too long, note that some may have been missed."""
        try:
            async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                await self.active.wait()
        except TimeoutError:
            self.receive(None)

    async def next(self, idle_timeout: float) -> bytes | None:
        """Return the next message, or `IDLE` after so many seconds without one, unless Redis is unavailable."""
        try:
            async with asyncio.timeout(idle_timeout):
                return await self.messages.get()
        except TimeoutError:
            await self.active.wait()
            return IDLE

    def receive(self, message: bytes | None) -> None:
        """Queue a message. If the subscriber is too slow, drop the queue: the events are in the stream."""
        queue = self.messages
        too_large = not queue.empty() and queue.size + len(message or b"") > _MAX_MESSAGE_BYTES
        if too_large or queue.qsize() >= _MAX_MESSAGES:
            while not queue.empty():
                queue.get_nowait()
            message = None
        queue.put_nowait(message)

    async def receive_later(self, message: bytes | None = None) -> None:
        """Queue a message again after a pause, because it cannot be handled while a server is unavailable."""
        await asyncio.sleep(_BACK_OFF_SECONDS)
        self.receive(message)


class Subscriber:
    """The connection on which a process receives the messages of all its subscriptions.

    Args:
        redis: A client without a response timeout.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._connection: AbstractConnection | None = None
        self._subscriptions: dict[bytes, set[Subscription]] = {}
        self._active: dict[bytes, asyncio.Event] = {}
        self._interrupted: set[bytes] = set()  # channels whose messages were not received for a while
        self._unused: set[bytes] = set()  # channels that Redis still delivers, without a subscription
        self._has_unused = asyncio.Event()
        self._circuit_breaker = CircuitBreaker("event channels", fallback="subscribers check the database")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive messages while the block runs, and reconnect when the connection breaks."""
        async with background_task(self._run()), background_task(self._unsubscribe_unused()):
            yield

    @asynccontextmanager
    async def subscribe(self, channel: str, *, eager: bool = False) -> AsyncIterator[Subscription]:
        """Subscribe to a channel while the block runs.

        Args:
            eager: Enter the block as soon as the subscription is requested; the block then calls
                `Subscription.wait_active` before it relies on it.

        Raises:
            RedisUnavailable: if Redis is unavailable now. A later interruption is reported in the subscription.
        """
        name = self._redis.key(channel).encode()
        if name not in self._subscriptions:
            self._subscriptions[name] = set()
            self._active[name] = asyncio.Event()
            await self._send(name)
        subscription = Subscription(active=self._active[name])
        self._subscriptions[name].add(subscription)
        try:
            if not eager or self._connection is None:
                try:
                    async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                        await subscription.active.wait()
                except TimeoutError:
                    raise RedisUnavailable("Redis cannot be reached. Try again shortly.") from None
            yield subscription
        finally:
            subscriptions = self._subscriptions[name]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[name], self._active[name]
                self._interrupted.discard(name)
                self._unused.add(name)
                self._has_unused.set()

    async def follow(
        self,
        run_id: UUID,
        subscription: Subscription,
        after: EventId = START,
        *,
        idle_timeout: float,
        seconds_since_end: Callable[[], Awaitable[float | None]],
    ) -> AsyncGenerator[Event]:
        """Yield the events of a run up to its end.

        Args:
            subscription: To its channel. Let it receive None first to read the events published before it was active.
            after: Yield only later events. An id that is beyond the stream's newest is one of another run: all events.
            idle_timeout: Seconds without a message after which the end may have been missed.
            seconds_since_end: Query the database, when the end may have been missed: how many seconds ago the run
                ended; None if it has not.
        """
        last = after
        timeout = idle_timeout
        while True:
            message = await subscription.next(timeout)
            events = list(unpack(message)) if message else []
            if not events or _may_miss_events(last, events[0].id):
                try:
                    since_end = await seconds_since_end()  # before reading: an ended run's events are then all there
                    events = await self._read_stream(run_id, last)
                    if not events and last == after and await self._is_beyond(run_id, after):
                        last = START
                        events = await self._read_stream(run_id, last)
                except ServiceError:
                    timeout = idle_timeout
                    if message != IDLE:
                        await subscription.receive_later()
                    continue
                timeout = idle_timeout if since_end is None else max(0.0, _LATE_EVENTS_SECONDS - since_end)
            for event in events:
                if event.id > last:
                    yield event
                    last = event.id
                    if event.name == END:
                        return
            if timeout == 0:
                return

    async def _read_stream(self, run_id: UUID, after: EventId) -> list[Event]:
        with redis_errors():
            entries: Any = await self._redis.xrange(self._redis.key(run_stream(run_id)), min=f"({after}", max="+")
        return [event for _, fields in entries for event in unpack(fields[b"e"])]

    async def _is_beyond(self, run_id: UUID, last: EventId) -> bool:
        """Return whether a run has no event as new as this one."""
        if last == START:
            return False
        with redis_errors():
            newest: Any = await self._redis.xrevrange(self._redis.key(run_stream(run_id)), count=1)
        return not newest or EventId.parse(newest[0][0].decode()) < last

    async def _send(self, *names: bytes) -> None:
        """Subscribe to channels and unsubscribe from unused ones, in one message."""
        connection = self._connection
        if connection is None:
            return  # after connecting, `_run` subscribes to all channels in use
        unused = self._unused - self._subscriptions.keys()
        self._unused.clear()
        commands: list[tuple[str | bytes, ...]] = [("UNSUBSCRIBE", *unused)] if unused else []
        if names:
            commands.append(("SUBSCRIBE", *names))
        if commands:
            # If the connection is lost, `_run` notices too.
            with contextlib.suppress(*REDIS_UNAVAILABLE):
                await connection.send_packed_command(connection.pack_commands(commands))

    async def _unsubscribe_unused(self) -> None:
        while True:
            await self._has_unused.wait()
            await asyncio.sleep(_UNSUBSCRIBE_SECONDS)
            self._has_unused.clear()
            await self._send()

    async def _run(self) -> None:
        while True:
            connection: AbstractConnection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
            try:
                await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
                self._circuit_breaker.record_success()
                self._connection = connection
                self._unused.clear()
                await self._send(*self._subscriptions)
                while True:
                    self._dispatch(await connection.read_response(timeout=inf))
            except (*REDIS_UNAVAILABLE, RedisError) as error:
                self._circuit_breaker.record_failure(error)
            finally:
                self._connection = None
                await connection.disconnect(nowait=True)
            for channel, active in self._active.items():
                if active.is_set():
                    active.clear()
                    self._interrupted.add(channel)
            await asyncio.sleep(_BACK_OFF_SECONDS)

    def _dispatch(self, answer: list[Any]) -> None:
        kind, channel, data = answer
        if kind == b"message":
            for subscription in self._subscriptions.get(channel, ()):
                subscription.receive(data)
        elif kind == b"subscribe" and channel in self._active:
            self._active[channel].set()
            if channel in self._interrupted:
                self._interrupted.discard(channel)
                for subscription in self._subscriptions[channel]:
                    subscription.receive(None)


def _may_miss_events(last: EventId, first: EventId) -> bool:
    """Return whether there may be events between the last one read and the first of an entry."""
    if first.attempt == last.attempt:
        return first.number > last.number + 1
    return first.attempt > last.attempt and first.number > 1
