"""One request of an MCP client, served without a session: any process of the service can serve the next one.

The id of a session holds its only state: whether the client can ask its user. A client answers a question, and
cancels a request, in another request, which any process may receive. It publishes the message on the session's channel,
and the process that serves the tool call receives it there.
"""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.shared.context import RequestContext
from mcp.shared.exceptions import McpError
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from project4_agent_api.events.subscriber import Subscriber, Subscription
from shared.errors import ServiceError

Inbox = MemoryObjectSendStream[SessionMessage | Exception]
_SESSION_ID = re.compile("(?:form|none)-[0-9a-f]{32}")
_REPORT_SECONDS = 1.0  # between reports that come often
_IDLE_SECONDS = 3600.0


def new_session_id(initialize: JSONRPCRequest) -> str:
    """Return the id of a new session. It says whether the client has declared that it can ask its user."""
    capabilities = (initialize.params or {}).get("capabilities")
    elicitation = capabilities.get("elicitation") if isinstance(capabilities, dict) else None
    # Without a mode, the older form of the capability, forms are meant.
    asks = isinstance(elicitation, dict) and ("form" in elicitation or not elicitation)
    return f"{'form' if asks else 'none'}-{uuid4().hex}"


def is_session_id(text: str) -> bool:
    """Return whether `new_session_id` may have returned a text."""
    return bool(_SESSION_ID.fullmatch(text))


def session_channel(account_id: UUID, session_id: str) -> str:
    """Return the channel of a session. It contains the account, so that nobody can answer another user's questions."""
    return f"mcp:{account_id}:{session_id}"


class Exchange(Response):
    """The response to a request, and what its handler may send before it ends.

    Args:
        server: Calls the handlers.
        request: The JSON-RPC request.
        body: The body of the HTTP request.
        session_id: None if the client does not keep it.
        channel: Channel of the session; None if the request takes no messages.
    """

    def __init__(
        self,
        server: Server[Any, Request],
        request: JSONRPCRequest,
        body: bytes,
        session_id: str | None,
        subscriber: Subscriber,
        channel: str | None,
    ) -> None:
        super().__init__()
        self._server = server
        self._request = request
        self._body = body
        self._session_id = session_id
        self._subscriber = subscriber
        self._channel = channel
        self._context: RequestContext[ServerSession, Any, Request] | None = None
        self._questions: set[int | str] = set()
        self._cancelled = False
        self._progress = 0
        self._reported_at = -_REPORT_SECONDS

    @property
    def can_ask(self) -> bool:
        """Whether the client can ask its user."""
        return self._channel is not None and (self._session_id or "").startswith("form-")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        scope["state"]["exchange"] = self
        streams = self._request.method == "tools/call"
        transport = StreamableHTTPServerTransport(self._session_id, is_json_response_enabled=not streams)
        inbox, incoming = anyio.create_memory_object_stream[SessionMessage | Exception]()
        async with transport.connect() as (read, write), inbox, incoming, anyio.create_task_group() as tasks:
            tasks.start_soon(self._forward, read, inbox)
            if self._channel:
                await tasks.start(self._listen, self._channel, inbox)
            options = self._server.create_initialization_options()
            tasks.start_soon(partial(self._server.run, incoming, write, options, stateless=True))
            await transport.handle_request(scope, self._replay(receive), send)
            tasks.cancel_scope.cancel()

    @classmethod
    def from_context(cls, context: RequestContext[ServerSession, Any, Request]) -> "Exchange":
        """Return the exchange of the request that a handler serves."""
        request = context.request
        if request is None:
            raise RuntimeError("the request did not come over HTTP")
        exchange: Exchange = request.state.exchange
        exchange._context = context
        return exchange

    async def report(self, message: str, *, often: bool = False) -> None:
        """Notify the client of progress, if it has asked for that.

        Args:
            often: Leave it out if there was a report within the last second.
        """
        context = self._current
        token = context.meta.progressToken if context.meta else None
        if token is None or (often and monotonic() - self._reported_at < _REPORT_SECONDS):
            return
        self._reported_at = monotonic()
        self._progress += 1
        await context.session.send_progress_notification(
            token, self._progress, message=message, related_request_id=str(context.request_id)
        )

    async def ask(self, message: str, schema: dict[str, Any]) -> types.ElicitResult:
        """Let the client ask its user. A client that refuses leaves the question open."""
        context = self._current
        question = secrets.randbits(48)  # unlike a count from 0, not that of another request of the session
        context.session._request_id = question  # noqa: SLF001  there is no public way to choose it
        self._questions.add(question)
        try:
            return await context.session.elicit_form(message, schema, related_request_id=context.request_id)
        except McpError:
            return types.ElicitResult(action="cancel")

    @asynccontextmanager
    async def stopping(self, stop: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Call `stop` if the client cancels the request in the block. It does not if its connection is lost."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            if self._cancelled:
                with anyio.CancelScope(shield=True), suppress(ServiceError):
                    await stop()
            raise

    @property
    def _current(self) -> RequestContext[ServerSession, Any, Request]:
        if self._context is None:
            raise RuntimeError("no handler serves the request yet")
        return self._context

    def _replay(self, receive: Receive) -> Receive:
        body = [self._body]

        async def receive_again() -> Message:
            return {"type": "http.request", "body": body.pop(), "more_body": False} if body else await receive()

        return receive_again

    @staticmethod
    async def _forward(read: MemoryObjectReceiveStream[SessionMessage | Exception], inbox: Inbox) -> None:
        async for message in read:
            await inbox.send(message)

    async def _listen(
        self, channel: str, inbox: Inbox, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Forward the session's other messages that belong to this request."""
        async with self._subscriber.subscribe(channel) as subscription:
            task_status.started()
            while True:
                message = await _next_message(subscription)
                if self._belongs(message.root):
                    await inbox.send(SessionMessage(message))

    def _belongs(self, message: JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError) -> bool:
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            return message.id in self._questions
        is_cancelled = (
            message.method == "notifications/cancelled" and (message.params or {}).get("requestId") == self._request.id
        )
        self._cancelled = self._cancelled or is_cancelled
        return is_cancelled


async def _next_message(subscription: Subscription) -> JSONRPCMessage:
    while True:
        # None and b"": some messages may have been missed. The client repeats no message, so there is none to look for.
        if data := await subscription.next(_IDLE_SECONDS):
            return JSONRPCMessage.model_validate_json(data)
