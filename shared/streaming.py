"""Work that is worth nothing once its client has gone, and the last event of a stream that failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from fastapi.sse import ServerSentEvent
from loguru import logger

from shared.errors import ClientClosedRequest, ServiceError
from shared.problems import problem_for


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancel the work inside when the client goes away.

    A handler that awaits a model would otherwise go on, and be paid for, after a browser tab was closed. Use it
    around the waiting only, never around a write: what was begun there should end.

    Args:
        request: Its body must have been read (FastAPI has done so when a handler or a dependency runs).

    Raises:
        ClientClosedRequest: if the client went away before the block ended.
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


def error_event(error: ServiceError, request: Request) -> ServerSentEvent:
    """Tell a stream's reader what went wrong after the 200 was sent: an `error` event with a problem body."""
    logger.warning("{} in mid-stream: {}", type(error).__name__, error.detail)
    return ServerSentEvent(event="error", data=problem_for(error, request.scope.get("request_id")))
