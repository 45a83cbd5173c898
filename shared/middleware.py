"""What happens around every request, as plain ASGI: no buffering, no extra task, streams pass untouched."""

import asyncio
import os
import re
from collections.abc import Mapping
from time import perf_counter

from loguru import logger
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import RequestBodyTooLarge
from shared.problems import problem_response

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PROBES = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds: a line each would drown the rest
_UTF_8 = re.compile(r";\s*charset=(\"?)utf-?8\1\s*(?=;|$)")
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 16 * 1024 * 1024


class RequestContext:
    """Gives each request an id, a line in the log, and an answer even if something unexpected was raised.

    The line says who asked, what, how it ended and how long it took. Behind a proxy that is believed
    (`FORWARDED_ALLOW_IPS`) it is the address that the proxy names.

    The id is the client's `X-Request-ID` if that is sane, else a new one. It is in `scope["request_id"]`, in the
    answer's header, and on every log line that is written meanwhile.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        scope["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        started = perf_counter()
        with logger.contextualize(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception as error:
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)
                if status:
                    raise  # half an answer is out: the server must cut the connection, so that the client knows
                await problem_response(error, request_id)(scope, receive, send_with_id)
            finally:
                level = "DEBUG" if scope["path"] in PROBES else "INFO"
                milliseconds = (perf_counter() - started) * 1000
                address = (scope.get("client") or ("-",))[0]
                line = "{} {} {} {:.1f} ms, for {}"
                logger.log(level, line, scope["method"], scope["path"], status or "-", milliseconds, address)


class BodyGuard:
    """Refuses a body that must not be read.

    That is one beyond the limit, whether its length was declared or not, and a form that is not in UTF-8: the parser
    would decode it with any codec of Python that the client names, and some take minutes for a megabyte (`punycode`).
    RFC 7578 has no such parameter. Nothing more of it is read.

    Args:
        app: What is protected.
        limit_bytes: For every path that has no limit of its own.
        of_path: Limits in bytes by path, for the few that take files.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, of_path: Mapping[str, int]) -> None:
        self.app = app
        self.limit = limit_bytes
        self.of_path = of_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        limit = self.of_path.get(scope["path"].removeprefix(scope.get("root_path", "")), self.limit)
        declared = Headers(scope=scope).get("content-length", "")
        content_type = Headers(scope=scope).get("content-type", "").lower()
        odd_form = "multipart" in content_type and "charset" in _UTF_8.sub("", content_type)
        received = 0
        refused = False

        async def receive_what_may_be_read() -> Message:
            nonlocal received, refused
            if odd_form:
                refused = True
                raise HTTPException(400, "A form is in UTF-8: name no charset.", headers={"Connection": "close"})
            if declared.isdigit() and int(declared) > limit:
                refused = True
                raise RequestBodyTooLarge(limit)
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                refused = True
                raise RequestBodyTooLarge(limit)
            return message

        async def send_then_linger(message: Message) -> None:
            if not refused or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            # Closing a socket with unread bytes resets it, and the client would lose the answer. So the answer goes
            # out, and what still arrives is dropped for a moment before the connection ends.
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(_LINGER_SECONDS):
                    dropped = 0
                    while dropped < _LINGER_BYTES and (late := await receive()).get("more_body"):
                        dropped += len(late["body"])
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app(scope, receive_what_may_be_read, send_then_linger)
