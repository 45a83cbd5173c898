"""The cost of a request: the bytes that it receives, sends and downloads, and the seconds it takes from other requests.

These are the seconds for which it occupies the event loop, and those of its statements in PostgreSQL. Waiting for a
run, a model or the client is free.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.types import Message, Receive, Send

from shared.database.driver import StatementTime, statement_time
from shared.outbound.fetching import count_fetched

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


Charge = Callable[[RequestCost], None]
Serve = Callable[[Receive, Send], Coroutine[Any, Any, None]]


async def serve_metered(serve: Serve, receive: Receive, send: Send, charge: Charge) -> None:
    """Serve a request, and charge its cost: that of a stream with each message, the rest at the end."""
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

    def add_seconds(seconds: float) -> None:
        cost.seconds += seconds

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
def _timed(coroutine: Coroutine[Any, Any, None], add_seconds: Callable[[float], None]) -> Generator[Any, Any, None]:
    """Await a coroutine, and add up the seconds for which it occupies the event loop."""
    error: BaseException | None = None
    while True:
        started = perf_counter()
        try:
            awaited = coroutine.throw(error) if error else coroutine.send(None)
        except StopIteration:
            return
        finally:
            add_seconds(perf_counter() - started)
        try:
            error = None
            yield awaited
        except BaseException as thrown:  # noqa: BLE001  such as a cancellation; the coroutine decides
            error = thrown
