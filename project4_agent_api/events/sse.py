"""Send a run's events as server-sent events (SSE), and a run's result as JSON: responses that take a while.

The events' data are JSON already, so no event is decoded and encoded again on its way to the client.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from fastapi import Response
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from project4_agent_api.core.serialization import dumps, public_error
from project4_agent_api.events.ids import Event
from shared.errors import ServiceError
from shared.problems import problem_for
from shared.streaming import escape_line_ends

_PING_SECONDS = 5.0  # proxies close idle connections

# Names in a request's state, set by the authentication guard: a function `(EncodeError) -> None` that makes a response
# end with its credential, and whether the credential has expired, as opposed to being revoked.
HOLD_OPEN, CREDENTIAL_EXPIRED = "hold_open", "credential_expired"

# Returns the last bytes of a body that an error ends after the status was sent.
EncodeError = Callable[[ServiceError, str | None], bytes]


class KeepAliveResponse(Response):
    """A streaming response that sends pings while its body produces nothing, and ends when the client disconnects.

    Args:
        body: Closed at the end of the response.
        ping: Bytes that a client ignores; None to send nothing before the body, so that an error has its own status.
        encode_error: Returns the last bytes of a body that a `ServiceError` ends after the status was sent.
        single: Whether the body is one piece. Then the headers are sent with the first ping or the body; otherwise at
            once.
        start: Bytes before the body that are sent with the headers, in one write.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes],
        *,
        ping: bytes | None,
        encode_error: EncodeError,
        media_type: str,
        headers: Mapping[str, str],
        single: bool,
        start: bytes = b"",
    ) -> None:
        super().__init__(
            media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers}
        )
        del self.headers["content-length"]
        self._body = body
        self._ping = ping
        self._encode_error = encode_error
        self._single = single
        self._start = start
        self._started = False
        self._finished = False
        self._activity = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if hold_open := scope.get("state", {}).get(HOLD_OPEN):
            hold_open(self._encode_error)
        sending = asyncio.create_task(self._send(scope, send))
        pinging = asyncio.create_task(self._keep_alive(send))
        disconnected = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait([sending, disconnected], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, pinging, disconnected):
                task.cancel()
            await asyncio.wait([sending, pinging, disconnected])
        with contextlib.suppress(asyncio.CancelledError):
            sending.result()

    async def _send(self, scope: Scope, send: Send) -> None:
        if not self._single:
            await self._write(send, self._start)
        async with aclosing(self._body) as pieces:
            try:
                async for piece in pieces:
                    await self._write(send, piece, last=self._single)
            except ServiceError as error:
                if self._ping is None and not self._started:
                    raise
                await self._write(send, self._encode_error(error, scope.get("request_id")))
        if not self._finished:
            self._finished = True
            await send({"type": "http.response.body", "body": b""})

    async def _write(self, send: Send, piece: bytes, *, last: bool = False) -> None:
        if self._finished:
            return  # a ping that comes too late
        self._finished = last
        self._activity.set()
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        message: Message = {"type": "http.response.body", "body": piece, "more_body": not last}
        await send(message)

    async def _keep_alive(self, send: Send) -> None:
        while self._ping is not None:
            self._activity.clear()
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._activity.wait()
            except TimeoutError:
                await self._write(send, self._ping)


def has_expired(request: HTTPConnection) -> bool:
    """Return whether the response ends because the access token has expired."""
    return getattr(request.state, CREDENTIAL_EXPIRED, False)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def encode(name: str, data: bytes, id_: str | None) -> bytes:
    """Return an event as server-sent event. Its data are JSON without line breaks."""
    last = b"id: %b\r\n\r\n" % id_.encode() if id_ else b"\r\n"
    # The name may contain the name of a graph's node.
    return b"event: %b\r\ndata: %b\r\n%b" % (" ".join(name.splitlines()).encode(), escape_line_ends(data), last)


def encode_event(event: Event) -> bytes:
    """Return an event of a run as server-sent event."""
    return encode(event.name, event.data, str(event.id))


def encode_error_event(error: ServiceError, request_id: str | None) -> bytes:
    """Return an error as event `error`: a problem body, with the keys that LangGraph's clients read."""
    problem = problem_for(error, request_id).model_dump(exclude_none=True)
    data = dumps(problem | {"error": type(error).__name__, "message": error.detail})
    return encode("error", data, None)


def event_stream(
    events: AsyncGenerator[bytes],
    headers: Mapping[str, str],
    encode_error: EncodeError = encode_error_event,
    *,
    start: bytes = b"",
) -> KeepAliveResponse:
    """Respond with server-sent events.

    Args:
        start: Events that are known already, encoded.
    """
    return KeepAliveResponse(
        events,
        ping=b": ping\r\n\r\n",
        encode_error=encode_error,
        media_type="text/event-stream",
        headers=headers,
        single=False,
        start=start,
    )


def delayed_json(result: AsyncGenerator[bytes], headers: Mapping[str, str]) -> KeepAliveResponse:
    """Respond with JSON that is not ready yet. The pings are line breaks, which JSON parsers skip."""
    return _json(result, headers, ping=b"\n")


def whole_json(result: AsyncGenerator[bytes], headers: Mapping[str, str]) -> KeepAliveResponse:
    """Respond with JSON that is not ready yet, for clients that read the status of an error. Nothing is sent before."""
    return _json(result, headers, ping=None)


def _json(result: AsyncGenerator[bytes], headers: Mapping[str, str], *, ping: bytes | None) -> KeepAliveResponse:
    return KeepAliveResponse(
        result,
        ping=ping,
        encode_error=lambda error, _: dumps({"__error__": public_error(error)}),
        media_type="application/json",
        headers=headers,
        single=True,
    )
