"""Answers that take a while: server-sent events of a run, and the JSON of a run that is waited for.

The events' data are JSON already, so that none is decoded and encoded again on its way to the client.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from project4_agent_api.core.serialization import dumps, error_of
from project4_agent_api.events.ids import Event
from shared.errors import ServiceError, problem_for

_PING_SECONDS = 5.0  # proxies close what is silent


class LiveResponse(Response):
    """Sends what is produced until there is no more, or the client has gone; and a sign of life when nothing is.

    Args:
        body: Closed at the end, whichever it is.
        ping: The sign of life.
        failed: Makes the last of the body where a `ServiceError` ends it: the status has been sent.
        media_type: Of the body.
        headers: Of the answer.
        whole: Whether the body is one piece. If so, nothing but signs of life is sent before it; else the headers are
            sent at once.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes],
        *,
        ping: bytes,
        failed: Callable[[ServiceError, str | None], bytes],
        media_type: str,
        headers: Mapping[str, str],
        whole: bool,
    ) -> None:
        super().__init__(
            media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers}
        )
        del self.headers["content-length"]
        self._body = body
        self._ping = ping
        self._failed = failed
        self._whole = whole
        self._started = False
        self._over = False
        self._live = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        sending = asyncio.create_task(self._send(scope, send))
        beside = [asyncio.create_task(self._show_life(send)), asyncio.create_task(_left(receive))]
        try:
            await asyncio.wait([sending, beside[1]], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *beside):
                task.cancel()
            await asyncio.wait([sending, *beside])
        with contextlib.suppress(asyncio.CancelledError):
            sending.result()

    async def _send(self, scope: Scope, send: Send) -> None:
        if not self._whole:
            await self._write(send, b"")
        async with aclosing(self._body) as pieces:
            try:
                async for piece in pieces:
                    await self._write(send, piece, last=self._whole)
            except ServiceError as error:
                await self._write(send, self._failed(error, scope.get("request_id")))
        if not self._over:
            self._over = True
            await send({"type": "http.response.body", "body": b""})

    async def _write(self, send: Send, piece: bytes, *, last: bool = False) -> None:
        if self._over:
            return  # a sign of life that comes too late
        self._over = last
        self._live.set()
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        message: Message = {"type": "http.response.body", "body": piece, "more_body": not last}
        await send(message)

    async def _show_life(self, send: Send) -> None:
        while True:
            self._live.clear()
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._live.wait()
            except TimeoutError:
                await self._write(send, self._ping)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def encode(name: str, data: bytes, id_: str | None) -> bytes:
    """Return an event as it is sent. JSON has no line breaks of its own."""
    last = b"id: %b\r\n\r\n" % id_.encode() if id_ else b"\r\n"
    return b"event: %b\r\ndata: %b\r\n%b" % (name.encode(), data, last)


def encoded(event: Event) -> bytes:
    """Return an event of a run as it is sent."""
    return encode(event.name, event.data, str(event.id))


def _error_event(error: ServiceError, request_id: str | None) -> bytes:
    problem = problem_for(error, request_id).model_dump(exclude_none=True)
    return b"event: error\r\ndata: %b\r\n\r\n" % dumps(
        problem | {"error": type(error).__name__, "message": error.detail}
    )


def event_stream(events: AsyncGenerator[bytes], headers: Mapping[str, str]) -> LiveResponse:
    """Answer with server-sent events."""
    return LiveResponse(
        events,
        ping=b": ping\r\n\r\n",
        failed=_error_event,
        media_type="text/event-stream",
        headers=headers,
        whole=False,
    )


def waited_for(result: AsyncGenerator[bytes], headers: Mapping[str, str]) -> LiveResponse:
    """Answer with JSON that takes a while. Meanwhile line breaks are sent, which a reader of JSON skips."""
    return LiveResponse(
        result,
        ping=b"\n",
        failed=lambda error, _: dumps({"__error__": error_of(error)}),
        media_type="application/json",
        headers=headers,
        whole=True,
    )
