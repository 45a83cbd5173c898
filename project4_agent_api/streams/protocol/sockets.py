"""The streaming protocol on a WebSocket: the commands to a thread and its events on one connection.

Each command and each subscription is executed as the HTTP request that it would be without a socket, inside this
process. So everything that guards the routes guards the socket: authentication and authorization of each command, rate
limits, the size of bodies, and the end of a subscription with its credential.
"""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
from fastapi import WebSocket
from starlette.types import Message, Scope, Send
from starlette.websockets import WebSocketDisconnect, WebSocketState

from shared.origins import Origins

_MAX_SUBSCRIPTIONS = 50
_SUBSCRIBE = ("subscription.subscribe", "subscription.reconnect")
_UNSUBSCRIBE = "subscription.unsubscribe"
_PROBE = b'{"id":0,"method":"agent.getTree"}'  # a command without an effect
_BEARER = "bearer"  # the subprotocol with which a page, which cannot set headers, sends its token
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN = 400, 401, 403
_CODES = {_BAD_REQUEST: "invalid_argument", _UNAUTHORIZED: "permission_denied", _FORBIDDEN: "permission_denied"}
_CLOSE_CODES = 4000  # plus a status: clients do not repeat what ends with a status from 400 on
_GOING_AWAY = 1012
_REASON = 120  # bytes; the protocol permits 123
# Headers of the handshake that are not those of the requests on it.
_OWN_HEADERS = ("connection", "content-", "idempotency-key", "last-event-id", "sec-websocket-", "transfer-", "upgrade")


@dataclass
class ThreadSocket:
    """The connection of one client to one thread."""

    socket: WebSocket
    _subscriptions: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def serve(self) -> None:
        """Execute the commands of the client until the connection closes.

        A connection from a page of another site is refused with 403. One without valid credentials is closed with 4401,
        because that is how clients of the protocol learn the reason.
        """
        origins: Origins = self.socket.app.state.origins
        if not origins.admit(self.socket.headers):
            await self.socket.close()
            return
        await self.socket.accept(_BEARER if self._token_of_page() else None)
        status, body = await self._post("commands", _PROBE)
        if status >= _BAD_REQUEST:
            await self._close(_CLOSE_CODES + status, _detail(body))
            return
        try:
            while True:
                await self._execute(await self.socket.receive_text())
        except (WebSocketDisconnect, RuntimeError, KeyError):  # closed by either side; or bytes, which are no command
            pass
        finally:
            for task in self._subscriptions.values():
                task.cancel()
            await asyncio.gather(*self._subscriptions.values(), return_exceptions=True)
            await self._close(_GOING_AWAY)

    async def _execute(self, text: str) -> None:
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError:
            command = None
        if not isinstance(command, dict) or type(command.get("id")) is not int:
            await self._refuse(None, "invalid_argument", "Send commands as JSON objects with an integer `id`.")
            return
        match command.get("method"):
            case method if method in _SUBSCRIBE:
                await self._subscribe(command)
            case "subscription.unsubscribe":
                await self._unsubscribe(command)
            case _:
                status, body = await self._post("commands", text.encode())
                await self._answer(command["id"], status, body)

    async def _answer(self, command_id: int, status: int, body: bytes) -> None:
        """Send the response to a command that was executed as a request."""
        if status < _BAD_REQUEST:
            await self._send(body)
            return
        await self._refuse(command_id, _CODES.get(status, "unknown_error"), _detail(body))
        if status == _UNAUTHORIZED:
            await self._close(_CLOSE_CODES + status, _detail(body))

    async def _subscribe(self, command: dict[str, Any]) -> None:
        if len(self._subscriptions) >= _MAX_SUBSCRIPTIONS:
            message = f"A connection has at most {_MAX_SUBSCRIPTIONS} subscriptions."
            await self._refuse(command["id"], "invalid_argument", message)
            return
        subscription_id = str(uuid4())
        answered = asyncio.Event()
        stream = _Subscription(self, command["id"], subscription_id, answered)
        parameters = orjson.dumps(command.get("params") or {})
        task = asyncio.create_task(self._request("stream/events", parameters, stream.send))
        self._subscriptions[subscription_id] = task
        task.add_done_callback(lambda _: self._subscriptions.pop(subscription_id, None))
        task.add_done_callback(lambda _: answered.set())
        await answered.wait()  # so that clients receive the responses in the order of their commands

    async def _unsubscribe(self, command: dict[str, Any]) -> None:
        parameters = command.get("params")
        name = parameters.get("subscription_id") if isinstance(parameters, dict) else None
        task = self._subscriptions.pop(name, None) if isinstance(name, str) else None
        if task is None:
            await self._refuse(command["id"], "no_such_subscription", "There is no such subscription.")
            return
        task.cancel()
        await self._succeed(command["id"], {})

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Execute a request, and return the status and the body of its response."""
        status, received = 0, bytearray()

        async def collect(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                received.extend(message.get("body", b""))

        await self._request(path, body, collect)
        return status, bytes(received)

    async def _request(self, path: str, body: bytes, send: Send) -> None:
        """Execute a request to the thread through the whole application."""
        waiting = [body]

        async def receive() -> Message:
            if not waiting:
                await asyncio.Event().wait()  # until the response has ended, or the socket is closed
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}

        await self.socket.app(self._scope(path, len(body)), receive, send)

    def _scope(self, path: str, size: int) -> Scope:
        scope: MutableMapping[str, Any] = self.socket.scope
        target = scope["path"].removesuffix("stream/events") + path
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if not name.decode("latin-1").lower().startswith(_OWN_HEADERS)
        ]
        if token := self._token_of_page():
            headers = [(name, value) for name, value in headers if name.lower() != b"authorization"]
            headers.append((b"authorization", f"Bearer {token}".encode("latin-1")))
        headers += [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]
        return {
            "type": "http",
            "asgi": scope["asgi"],
            "http_version": "1.1",
            "method": "POST",
            "scheme": "https" if scope.get("scheme") == "wss" else "http",
            "path": target,
            "raw_path": target.encode(),
            "query_string": b"",
            "root_path": "",  # the application adds it, as to a request of a client
            "headers": headers,
            "client": scope.get("client"),
            "server": scope.get("server"),
            "state": {},
        }

    def _token_of_page(self) -> str | None:
        """Return the token that a page sends with `new WebSocket(url, ["bearer", token])`."""
        offered = self.socket.scope.get("subprotocols") or []
        return offered[1] if len(offered) > 1 and offered[0] == _BEARER else None

    async def _succeed(self, command_id: int, result: dict[str, Any]) -> None:
        frame = {"type": "success", "id": command_id, "result": result, "meta": {"applied_through_seq": 0}}
        await self._send(orjson.dumps(frame))

    async def _refuse(self, command_id: int | None, code: str, message: str) -> None:
        await self._send(orjson.dumps({"type": "error", "id": command_id, "error": code, "message": message}))

    async def _send(self, frame: bytes) -> None:
        async with self._sending:
            await self.socket.send_text(frame.decode())

    async def _close(self, code: int, reason: str | None = None) -> None:
        async with self._sending:
            if self.socket.application_state == WebSocketState.CONNECTED == self.socket.client_state:
                await self.socket.close(code, reason and reason.encode()[:_REASON].decode(errors="ignore"))


@dataclass
class _Subscription:
    """The response of a stream of events, which is forwarded to a socket."""

    socket: ThreadSocket
    command_id: int
    subscription_id: str
    answered: asyncio.Event
    _status: int = 0

    async def send(self, message: Message) -> None:
        """Forward a message of the response."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._status < _BAD_REQUEST:
                result = {"subscription_id": self.subscription_id, "replayed_events": 0}
                await self.socket._succeed(self.command_id, result)  # noqa: SLF001  the classes belong together
                self.answered.set()
        elif self._status >= _BAD_REQUEST:
            await self.socket._answer(self.command_id, self._status, message.get("body", b""))  # noqa: SLF001  likewise
        else:
            await self._forward(message.get("body", b""))
            if not message.get("more_body"):
                await self.socket._close(_GOING_AWAY)  # noqa: SLF001  likewise

    async def _forward(self, events: bytes) -> None:
        for line in events.split(b"\r\n"):
            if not line.startswith(b"data: "):
                continue
            data = line.removeprefix(b"data: ")
            await self.socket._send(data)  # noqa: SLF001  likewise
            if data.startswith(b'{"type":"error"'):  # the last one: the credential has ended
                status = orjson.loads(data)["status"]
                await self.socket._close(_CLOSE_CODES + status)  # noqa: SLF001  likewise


def _detail(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "The request failed."
