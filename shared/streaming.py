"""Streamed responses: cancellation when the client disconnects, and errors before and after the status was sent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from fastapi import Request
from fastapi.sse import ServerSentEvent
from loguru import logger
from pydantic import BaseModel

from shared.errors import ClientClosedRequest, ServiceError
from shared.problems import problem_for

Event = TypeVar("Event")


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancel the block when the client disconnects.

    Without it a handler would wait for a model, at a cost, after the browser tab was closed. Use it around waiting
    only, never around a write, which has to finish once it has started.

    Args:
        request: A request whose body has been read; FastAPI does so before it calls handlers and dependencies.

    Raises:
        ClientClosedRequest: if the client disconnects before the block ends.
    """

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        block.reschedule(asyncio.get_running_loop().time())

    block = asyncio.timeout(None)
    try:
        async with block:
            watcher = asyncio.create_task(watch())
            try:
                yield
            finally:
                watcher.cancel()
    except TimeoutError:
        if block.expired():
            raise ClientClosedRequest from None
        raise


@asynccontextmanager
async def primed_stream(
    events: AsyncGenerator[Event], request: Request, *, count: int = 1
) -> AsyncIterator[AsyncIterator[Event]]:
    """Wait for the first events of a stream, then yield an iterator over all of them.

    FastAPI sends the status of a streamed response before its handler yields anything. A dependency that primes the
    stream can still fail with a status of its own. The stream is closed at the end of the block.

    Args:
        request: The wait is cancelled when its client disconnects.
        count: Number of events to wait for.
    """
    async with aclosing(events):
        async with cancel_on_disconnect(request):
            first = [await anext(events) for _ in range(count)]

        async def all_events() -> AsyncIterator[Event]:
            for event in first:
                yield event
            async for event in events:
                yield event

        yield all_events()


def server_event(name: str, data: BaseModel) -> ServerSentEvent:
    """Return an event with JSON data in one line."""
    return ServerSentEvent(event=name, raw_data=escape_line_ends(data.model_dump_json().encode()).decode())


def error_event(error: ServiceError, request: Request) -> ServerSentEvent:
    """Return the `error` event of a stream that fails after the status was sent. Its data are a problem body."""
    logger.warning("{} in a started stream: {}", type(error).__name__, error.detail)
    return server_event("error", problem_for(error, request.scope.get("request_id")))


# In an event stream only CR and LF end a line. Clients that read lines of text (`httpx.Response.iter_lines`) also end
# them at these characters, which JSON does not escape as it does U+000B, U+000C and U+001C to U+001E.
_LINE_ENDS = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}


def escape_line_ends(data: bytes) -> bytes:
    """Escape U+0085, U+2028 and U+2029 in JSON, which may contain them in strings only."""
    for character, escape in _LINE_ENDS.items():
        data = data.replace(character, escape)
    return data
