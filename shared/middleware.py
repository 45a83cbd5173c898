"""Middleware of every stage, as plain ASGI: no extra task and queue stand between a stream and its client."""

import asyncio
import os
import re
from collections.abc import Mapping
from time import perf_counter

from loguru import logger
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import RequestBodyTooLarge
from shared.paths import route_path
from shared.problems import error_response

_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PROBES = frozenset({"/health", "/ready", "/metrics"})  # requested every few seconds, so logged at DEBUG only
_UTF_8 = re.compile(r";\s*charset=(\"?)utf-?8\1\s*(?=;|$)")
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 16 * 1024 * 1024


class RequestContext:
    """Gives each request an id and a log line, and turns unexpected exceptions into a 500.

    The line has the method, the path, the status, the duration and the client's address: behind a trusted proxy
    (`FORWARDED_ALLOW_IPS`) the one that the proxy reports.

    The id is the client's `X-Request-ID` if it is well-formed, otherwise a new one. It is stored in
    `scope["request_id"]`, returned in the response's header, and added to every log line of the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        requested = Headers(scope=scope).get("x-request-id", "")
        request_id = requested if _WELL_FORMED_ID.fullmatch(requested) else os.urandom(16).hex()
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
                    raise  # the response has started: the server closes the connection, so that the client notices
                await error_response(error, scope)(scope, receive, send_with_id)
            finally:
                polled = scope["path"] in PROBES or scope["path"].startswith("/xray/")
                level = "DEBUG" if polled else "INFO"
                milliseconds = (perf_counter() - started) * 1000
                address = (scope.get("client") or ("-",))[0]
                line = "{} {} {} {:.1f} ms, for {}"
                logger.log(level, line, scope["method"], scope["path"], status or "-", milliseconds, address)


class BodyGuard:
    """Refuses to read bodies that exceed the limit, declared or not, and forms with a charset other than UTF-8.

    The form parser decodes with any Python codec that the client names, and some take minutes for a megabyte
    (`punycode`). RFC 7578 has no such parameter.

    Args:
        path_limits: Limits in bytes of the paths that accept files, such as `/documents/{document_id}/versions`.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, path_limits: Mapping[str, int]) -> None:
        self.app = app
        self.limit = limit_bytes
        self.path_limits = [(compile_path(path)[0], bytes_) for path, bytes_ in path_limits.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        path = route_path(scope)
        limit = next((bytes_ for pattern, bytes_ in self.path_limits if pattern.match(path)), self.limit)
        declared = Headers(scope=scope).get("content-length", "")
        content_type = Headers(scope=scope).get("content-type", "").lower()
        has_other_charset = "multipart" in content_type and "charset" in _UTF_8.sub("", content_type)
        received = 0
        refused = False

        async def receive_within_limit() -> Message:
            nonlocal received, refused
            if has_other_charset:
                refused = True
                raise HTTPException(400, "Forms must be UTF-8: send no charset.", headers={"Connection": "close"})
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
            # Closing a socket with unread bytes resets the connection, and the client may lose the response. So the
            # response is sent, and further bytes are discarded for a moment before the connection is closed.
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(_LINGER_SECONDS):
                    discarded = 0
                    while discarded < _LINGER_BYTES and (chunk := await receive()).get("more_body"):
                        discarded += len(chunk["body"])
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app(scope, receive_within_limit, send_then_linger)
