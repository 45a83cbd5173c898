"""Follow a run: wait for its result or stream its events, until it ends or its client disconnects."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from uuid import UUID

from project4_agent_api.events.ids import END, START, Event, EventId
from project4_agent_api.events.sse import encode_event
from project4_agent_api.events.subscriber import Subscription
from project4_agent_api.runs import repository
from project4_agent_api.runs.request import RunRequest
from project4_agent_api.runs.service import UNFINISHED, Runs
from project4_agent_api.runs.spec import RunKey
from shared.errors import DatabaseUnavailable, NotFound


@dataclass
class RunSubscription:
    """A run, and a subscription to its events or to its end.

    Attributes:
        subscription: A subscription to one of the run's channels.
        stop_if_abandoned: Whether the run is stopped when its client disconnects before its end.
        own_thread: Whether its thread was created for it, and is deleted with it.
        credential_expired: Returns whether the request ends because its access token has expired. The run continues
            then, because its client is expected to return with a new one.
    """

    runs: Runs
    key: RunKey
    subscription: Subscription
    stop_if_abandoned: bool = False
    own_thread: bool = False
    credential_expired: Callable[[], bool] = field(default=lambda: False, kw_only=True)

    def headers(self, action: str) -> dict[str, str]:
        """Return the headers with the run's address, and the one at which it can be followed again."""
        run = f"/threads/{self.key.thread_id}/runs/{self.key.run_id}"
        return {"Content-Location": run, "Location": f"{run}/{action}"}

    async def result(self) -> AsyncGenerator[bytes]:
        """Wait for the end, and yield the result as JSON."""
        try:
            try:
                result = await self._wait_for_result()
            except NotFound:
                if self.own_thread:
                    raise
                result = b"{}"  # deleted with its thread; a client that received the end got the same
            self.stop_if_abandoned = False
            yield result
        finally:
            await self._close()

    async def _wait_for_result(self) -> bytes:
        while True:
            end = await self.subscription.next(self.runs.idle_timeout)
            if end and b"\n" in end:
                return end.partition(b"\n")[2]
            try:
                result = await self.runs.result_if_finished(self.key)
            except DatabaseUnavailable:  # it will recover, and this client can wait
                await self.subscription.receive_later()
                continue
            if result is not None:
                return result

    async def end(self) -> AsyncGenerator[bytes]:
        """Wait for the end, and yield an empty object."""
        with contextlib.suppress(NotFound):  # deleted with its thread
            async for _ in self.result():
                pass
        yield b"{}"

    async def events(
        self, after: EventId = START, modes: Collection[str] | None = None, *, sent: Event | None = None
    ) -> AsyncGenerator[bytes]:
        """Yield the run's events, encoded for the client.

        Args:
            modes: Only events of these stream modes.
            sent: An event that the client has received already.
        """
        async with aclosing(self.attended(after)) as events:
            async for event in events:
                if event.name != END and event != sent and (modes is None or _mode_of(event.name) in modes):
                    yield encode_event(event)

    async def attended(self, after: EventId = START) -> AsyncGenerator[Event]:
        """Yield the run's events up to its end. If the generator is closed before, the client has disconnected."""
        try:
            async for event in self.follow(after):
                if event.name == END:
                    self.stop_if_abandoned = False
                yield event
        finally:
            await self._close()

    async def follow(self, after: EventId = START) -> AsyncGenerator[Event]:
        """Yield the run's events up to its end. See `Subscriber.follow`."""

        async def seconds_since_end() -> float | None:
            try:
                run = await repository.get_run(self.runs.pool, self.key, repository.GET_AGE)
            except NotFound:  # rolled back, or deleted with its thread
                return inf
            return None if run["status"] in UNFINISHED else run["seconds"]

        async for event in self.runs.subscriber.follow(
            self.key.run_id,
            self.subscription,
            after,
            idle_timeout=self.runs.idle_timeout,
            seconds_since_end=seconds_since_end,
        ):
            yield event

    async def _close(self) -> None:
        closed_by_server = self.runs.shutdown.closing_connections or self.credential_expired()
        if self.stop_if_abandoned and not closed_by_server:
            await self.runs.stop_abandoned(self.key)


@asynccontextmanager
async def start_run(
    runs: Runs, request: RunRequest, channel: Callable[[UUID], str], credential_expired: Callable[[], bool]
) -> AsyncIterator[RunSubscription]:
    """Store a run, after subscribing to it, so that no event is missed.

    Args:
        channel: `run_stream` for all events, or `run_end_channel`.

    Raises:
        The same as `Runs.create`.
    """
    async with runs.subscriber.subscribe(channel(request.key.run_id), eager=True) as subscription:
        await runs.create(request, subscription)
        stop_if_abandoned = request.body.on_disconnect == "cancel"
        yield RunSubscription(
            runs,
            request.key,
            subscription,
            stop_if_abandoned,
            request.stateless,
            credential_expired=credential_expired,
        )


@asynccontextmanager
async def join_run(
    runs: Runs,
    key: RunKey,
    channel: Callable[[UUID], str],
    credential_expired: Callable[[], bool],
    *,
    stop_if_abandoned: bool = False,
) -> AsyncIterator[RunSubscription]:
    """Subscribe to an existing run, which may have published events or ended already.

    Raises:
        NotFound: if there is none.
    """
    async with runs.subscriber.subscribe(channel(key.run_id)) as subscription:
        await runs.get(key)
        subscription.receive(None)
        yield RunSubscription(runs, key, subscription, stop_if_abandoned, credential_expired=credential_expired)


def _mode_of(name: str) -> str:
    """Return the stream mode of an event: `messages` of `messages/partial`, `values` of `values|agent:1`."""
    return name.partition("|")[0].partition("/")[0]
