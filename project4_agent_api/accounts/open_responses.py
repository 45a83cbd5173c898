"""End the responses that are still open when their credential is revoked or expires.

A request is authenticated when it arrives, but an event stream may stay open for hours. Each process therefore checks
the credentials of all its open responses with one statement every `CHECK_SECONDS`. No notification is involved, so none
can be lost: a sign-out at one process ends the streams of every other process, also while Redis is unavailable.

If a project authenticates its users itself, its handler is called again for each open response every
`PROJECT_CHECK_SECONDS`.
"""

import asyncio
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic, time

from loguru import logger
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from project4_agent_api.accounts.principals import Principal, list_valid
from project4_agent_api.core.postgres import Pool
from project4_agent_api.events.sse import CREDENTIAL_EXPIRED, HOLD_OPEN, EncodeError, encode_error_event
from shared.background import background_task
from shared.errors import DatabaseUnavailable, Unauthorized

CHECK_SECONDS = 2.0
PROJECT_CHECK_SECONDS = 10.0  # a handler may ask another service
_EVENTS = "text/event-stream"
_SEND_SECONDS = 1.0  # for the last event, if the client does not read
_REVOKED = "The sign-in or the API key of this request is no longer valid. Sign in again."
_REFUSED = "The credentials of this request are no longer accepted."
_EXPIRED = "The access token of this request has expired. Refresh it, and continue after the last event."


class OpenResponses:
    """The open responses of this process that end with their credential."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: set[_Response] = set()
        self._has_open = asyncio.Event()

    @asynccontextmanager
    async def checking(self) -> AsyncIterator[None]:
        """Check the credentials periodically while the block runs."""
        async with background_task(self._keep_checking()):
            yield

    async def serve(self, app: ASGIApp, principal: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. If its response is an event stream, or held open for a result, it ends with the credential.

        Raises:
            Unauthorized: if the credential becomes invalid before a response that is held open has started.
        """
        if principal.credential_id is None and principal.is_still_accepted is None:  # nothing can be revoked
            await app(scope, receive, send)
            return
        response = _Response(principal, scope, send, self)
        scope.setdefault("state", {})[HOLD_OPEN] = response.hold_open
        try:
            async with response.block:
                await app(scope, receive, response.send)
        except TimeoutError:
            if response.error is None:
                raise
            await response.finish(response.error)
        finally:
            self.remove(response)

    def add(self, response: "_Response") -> None:
        """Include a response in the checks."""
        self._open.add(response)
        self._has_open.set()

    def remove(self, response: "_Response") -> None:
        """Leave a response out of the checks."""
        response.stop_watching()
        self._open.discard(response)
        if not self._open:
            self._has_open.clear()

    async def check_again(self, response: "_Response") -> None:
        """Check the credential of a response that starts long after its request was authenticated."""
        if response.principal.is_still_accepted:
            return  # asked again within `PROJECT_CHECK_SECONDS`
        with suppress(DatabaseUnavailable):
            if not await list_valid(self._pool, {response.principal}):
                response.end(Unauthorized(_REVOKED))
                await asyncio.Event().wait()  # until it is cancelled

    async def check(self) -> None:
        """End the responses whose credentials are no longer valid.

        Raises:
            DatabaseUnavailable: if the database is unavailable.
        """
        responses = list(self._open)
        valid = await list_valid(self._pool, {response.principal for response in responses})
        for response in responses:
            if response.principal.credential_id not in valid:
                response.end(Unauthorized(_REVOKED))

    async def _keep_checking(self) -> None:
        while True:
            await self._has_open.wait()
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except DatabaseUnavailable:  # it stores no revocation either; the next check finds all of them
                continue
            except Exception as error:  # noqa: BLE001  the checks must not end
                logger.opt(exception=error).error("open responses were not checked: {}", type(error).__name__)


class _Response:
    """A response, which is cancelled when its credential becomes invalid while it is held open."""

    def __init__(self, principal: Principal, scope: Scope, send: Send, registry: OpenResponses) -> None:
        self.principal = principal
        self.block = asyncio.timeout(None)
        self.error: Unauthorized | None = None
        self._scope = scope
        self._send = send
        self._registry = registry
        self._encode_error: EncodeError = encode_error_event
        self._timer: TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._arrived = monotonic()
        self._held = self._started = self._finished = False

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            if not self._held and Headers(raw=message["headers"]).get("content-type", "").startswith(_EVENTS):
                self.hold_open(encode_error_event)
                if monotonic() - self._arrived > CHECK_SECONDS:  # it waited for the first word of a model
                    await self._registry.check_again(self)
            self._started = True
        elif not message.get("more_body", False):
            self._finished = True  # background tasks follow, which must not be cancelled
            self._registry.remove(self)
        await self._send(message)

    def hold_open(self, encode_error: EncodeError) -> None:
        """End this response with its credential.

        Args:
            encode_error: Returns the last bytes of the response if it has started by then.
        """
        self._held = True
        self._encode_error = encode_error
        if self.principal.token_rejected_at is not None:
            seconds = self.principal.token_rejected_at - time()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)
        if self.principal.is_still_accepted is None:
            self._registry.add(self)
        elif self._asking is None:
            self._asking = asyncio.create_task(self._keep_asking(self.principal.is_still_accepted))

    def stop_watching(self) -> None:
        """Cancel the timer of the expiry, and the calls of a project's handler."""
        for watcher in (self._timer, self._asking):
            if watcher:
                watcher.cancel()

    def end(self, error: Unauthorized) -> None:
        """Cancel the response, unless it has finished."""
        if self.error is None and not self._finished:
            self.error = error
            self.block.reschedule(asyncio.get_running_loop().time())

    async def finish(self, error: Unauthorized) -> None:
        """Send the error as the end of the cancelled response.

        Raises:
            Unauthorized: if the response has not started.
        """
        if not self._started:
            raise error
        if not self._finished:
            body = self._encode_error(error, self._scope.get("request_id"))
            with suppress(TimeoutError):  # the server closes the connection of an incomplete response
                async with asyncio.timeout(_SEND_SECONDS):
                    await self._send({"type": "http.response.body", "body": body})

    async def _keep_asking(self, is_still_accepted: Callable[[], Awaitable[bool]]) -> None:
        """Call a project's handler until it refuses the credential. If it fails otherwise, the response goes on."""
        accepted = True
        while accepted:
            await asyncio.sleep(PROJECT_CHECK_SECONDS)
            try:
                accepted = await is_still_accepted()
            except Exception as error:  # noqa: BLE001  a handler may raise anything
                logger.warning("the project's handler did not check an open response: {}", type(error).__name__)
        self.end(Unauthorized(_REFUSED))

    def _expire(self) -> None:
        self._scope["state"][CREDENTIAL_EXPIRED] = True
        self.end(Unauthorized(_EXPIRED))
