"""Records the messages of a connection: its status, the frames of a stream or of a WebSocket, and its owner."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from opentelemetry.trace import Span, get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.xray.recorder import Recorder, describe, entered, recorded
from shared.xray.rows import RequestHead
from shared.xray.sources import line_of

_MAX_FRAMES = 50  # of one connection that have rows of their own; the others share one
_NAME = re.compile(r"[\w./-]{1,50}")
_EVENT = re.compile(rb"^event: ?(.*)$", re.MULTILINE)
open_connection: ContextVar["Connection | None"] = ContextVar("xray_connection", default=None)


@dataclass
class Connection:
    """A recorded request or WebSocket.

    Attributes:
        around: The WebSocket on which it is executed, if it is a request of one.
    """

    recorder: Recorder
    head: RequestHead
    scope: Scope
    receive_message: Receive
    send_message: Send
    app: ASGIApp
    frames: "Frames | None" = None
    around: "Connection | None" = field(default_factory=open_connection.get)

    async def receive(self) -> Message:
        """Receive a message, and record a WebSocket's frame."""
        message = await self.receive_message()
        if message["type"] == "websocket.receive" and self.frames:
            with self.frames.passed(_payload(message), "received "):
                pass
        return message

    async def send(self, message: Message) -> None:
        """Send a message, and record the frame of a stream or of a WebSocket."""
        if message["type"] == "http.response.start":
            self._respond(message["status"])
            if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
                self.frames = Frames(self.recorder, self._sender())
        elif message["type"] == "websocket.accept":
            self._respond(HTTPStatus.SWITCHING_PROTOCOLS)
            self.frames = Frames(self.recorder, self._sender(), get_current_span())
        elif message["type"] == "websocket.close" and self.head.status is None:
            self._respond(HTTPStatus.FORBIDDEN)
        body = message.get("body") or _payload(message)
        with self.frames.passed(body) if self.frames and body else nullcontext():
            await self.send_message(message)

    def _respond(self, status: int) -> None:
        self.head.status = status
        self._complete()

    def _sender(self) -> object:
        return _endpoint(self.scope) or self.app

    def _complete(self) -> None:
        """Add the owner and the endpoint, which are known after authentication and routing."""
        owner_id = self.scope.get("state", {}).get("owner_id")
        self.head.owner_id = owner_id or self.head.owner_id
        self.head.source = line_of(endpoint) if (endpoint := _endpoint(self.scope)) else self.head.source
        if self.around and owner_id:  # a WebSocket is authenticated by the requests on it
            self.around.head.owner_id = owner_id

    def end(self) -> None:
        """End the recording."""
        self._complete()
        if self.frames:
            self.frames.end()


def _payload(message: Message) -> bytes:
    """Return the content of a WebSocket's frame."""
    text = message.get("text")
    return text.encode() if isinstance(text, str) else message.get("bytes") or b""


def _endpoint(scope: Scope) -> Any:  # noqa: ANN401  any callable
    return getattr(scope.get("route"), "endpoint", None)


class Frames:
    """The frames of a stream or of a WebSocket: each of the first has a row, and the others share one.

    Args:
        endpoint: The function that yields them.
        parent: The parent of their rows. Default: the current span. A WebSocket's frames may be sent by the requests
            that are executed on it.
    """

    def __init__(self, recorder: Recorder, endpoint: object, parent: Span | None = None) -> None:
        self._recorder = recorder
        self._endpoint = endpoint
        self._parent = parent
        self._count = self._further_bytes = 0
        self._further: Span | None = None

    @contextmanager
    def passed(self, body: bytes, prefix: str = "") -> Iterator[None]:
        """Record the sending of a frame in the block, or that one was received."""
        self._count += 1
        if self._count <= _MAX_FRAMES:
            name = f"{prefix}{frame_name(body)}"
            parent = entered(self._parent) if self._parent else nullcontext()
            with parent, recorded("frame", name, self._endpoint, bytes=len(body)):
                yield
            return
        if self._further is None:
            self._further = self._recorder.start("frame", "further frames", self._endpoint, parent=self._parent)
        self._further_bytes += len(body)
        yield

    def end(self) -> None:
        """End the row that the further frames share."""
        if self._further:
            describe(self._further, frames=self._count - _MAX_FRAMES, bytes=self._further_bytes)
            self._further.end()


def frame_name(body: bytes) -> str:
    """Return the names of a frame's events, or the method or the type of a message in JSON; never its content."""
    if names := [name.decode(errors="replace") for name in _EVENT.findall(body)]:
        return ", ".join(names)
    if not body.startswith(b"{"):
        return "comment" if body.startswith(b":") else "message"
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return "message"
    named = (message.get(key) for key in ("method", "type"))
    return next((name for name in named if isinstance(name, str) and _NAME.fullmatch(name)), "message")
