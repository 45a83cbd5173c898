"""The cost of a request: the bytes that it receives, sends and downloads, and the seconds it takes from other requests.

These are the seconds for which it occupies the event loop, and those of its statements in PostgreSQL. Waiting for a
run, a model or the client is free.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.types import Message, Receive, Send

from shared.database.driver import StatementTime, statement_time
from shared.outbound.fetching import count_fetched

_LONG_SECONDS = 0.005  # of work without a pause that is paced
_PAYLOADS = ("body", "bytes", "text")  # of messages of HTTP and WebSockets


@dataclass(slots=True)
class RequestCost:
    """The cost of a request so far.

    Attributes:
        size: Bytes received, sent and downloaded.
        seconds: For which it occupied the event loop or a connection to PostgreSQL.
    """

    size: int = 0
    seconds: float = 0

    def add(self, other: "RequestCost") -> None:
        """Add the cost of another request."""
        self.size += other.size
        self.seconds += other.seconds


class Pacing:
    """Pauses in the requests of users who have caused much work: together they occupy at most half of the event loop.

    The loop gives each request its turn. Without pauses, a short request would wait for all long ones at each of its
    own turns.
    """

    def __init__(self) -> None:
        self._free_at = 0.0

    def pause_after(self, seconds: float) -> float:
        """Return for how long a request pauses after so many seconds of work, behind other such requests."""
        now = perf_counter()
        next_at = max(now, self._free_at) + seconds
        self._free_at = next_at + seconds  # it probably works as long again
        return next_at - now


Charge = Callable[[RequestCost], None]
Serve = Callable[[Receive, Send], Coroutine[Any, Any, None]]


async def serve_metered(
    serve: Serve, receive: Receive, send: Send, charge: Charge, pacing: Pacing | None = None
) -> None:
    """Serve a request, and charge its cost: that of a stream with each message, the rest at the end.

    Args:
        pacing: Paces the request, if its user has caused much work.
    """
    cost = RequestCost()
    statements = StatementTime()

    def charge_cost() -> None:
        nonlocal cost
        cost.seconds += statements.take()
        charge(cost)
        cost = RequestCost()

    async def metered_receive() -> Message:
        message = await receive()
        cost.size += _size(message)
        return message

    async def metered_send(message: Message) -> None:
        cost.size += _size(message)
        if message.get("more_body"):
            charge_cost()
        await send(message)

    def add_seconds(seconds: float) -> float:
        cost.seconds += seconds
        return pacing.pause_after(seconds) if pacing and seconds > _LONG_SECONDS else 0

    def add_size(size: int) -> None:
        cost.size += size

    token, fetched_token = statement_time.set(statements), count_fetched.set(add_size)
    try:
        await _timed(serve(metered_receive, metered_send), add_seconds)
    finally:
        statement_time.reset(token)
        count_fetched.reset(fetched_token)
        charge_cost()


def _size(message: Message) -> int:
    return sum(len(message.get(name) or b"") for name in _PAYLOADS)


@types.coroutine
def _timed(coroutine: Coroutine[Any, Any, None], add_seconds: Callable[[float], float]) -> Generator[Any, Any, None]:
    """Await a coroutine, and add up the seconds for which it occupies the event loop.

    Args:
        add_seconds: Returns for how long the coroutine pauses.
    """
    pause = 0.0
    error: BaseException | None = None
    while True:
        started = perf_counter()
        try:
            awaited = coroutine.throw(error) if error else coroutine.send(None)
        except StopIteration:
            return
        finally:
            pause = add_seconds(perf_counter() - started)
        try:
            error = None
            if pause:
                yield from _pause(pause, awaited)
            yield awaited
        except BaseException as thrown:  # noqa: BLE001  such as a cancellation; the coroutine decides
            error = thrown


def _pause(seconds: float, awaited: "asyncio.Future[Any] | None") -> Generator[Any]:
    """Sleep before a coroutine awaits a future. A cancellation is then the future's, as it is without a pause."""
    try:
        yield from asyncio.sleep(seconds).__await__()
    except asyncio.CancelledError:
        if awaited is None or not awaited.cancel():
            raise
