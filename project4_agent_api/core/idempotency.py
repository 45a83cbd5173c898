"""`Idempotency-Key`: what was made once is not made again, however often, and at which process, it is asked for.

The form is that of draft-ietf-httpapi-idempotency-key-header. A key belongs to a user and an operation (method and
path). Its row in PostgreSQL is claimed before anything is done; the claim has a lease, so that a request whose process
died does not hold it for ever. What was answered is kept in the row and given again, with `Idempotency-Replayed: true`,
until the workers' sweep finds it old (`retention.py`). An answer that made nothing (4xx) sets the key free; after one
of which that is not known (5xx) it can be tried again.

A run is more than its answer, so it gets the id that stands in the row: a second request for it waits for that run, or
reads its events. For some at once (`/runs/batch`) the row says in their transaction that they are there: an answer that
was lost cannot be given again then, but nothing is made again either. What answers with a secret (`/auth`) takes no
key: secrets are not kept.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID, uuid4

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from loguru import logger
from psycopg.types.json import Jsonb
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from shared.app import add_errors
from shared.errors import Conflict, IdempotencyKeyReused, NotFound, ServiceError

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# Operations that make something, and what of a run each answers with.
_RUN_PATHS: dict[str, Literal["", "/join", "/stream"]] = {
    "/runs": "",
    "/runs/wait": "/join",
    "/runs/stream": "/stream",
    "/threads/{thread_id}/runs": "",
    "/threads/{thread_id}/runs/wait": "/join",
    "/threads/{thread_id}/runs/stream": "/stream",
}
PATHS = (
    "/users",
    "/users/{user_id}/messages",
    "/documents",
    "/assistants",
    "/threads",
    "/threads/{thread_id}/copy",
    "/runs/batch",
    "/runs/crons",
    "/threads/{thread_id}/runs/crons",
    *_RUN_PATHS,
)
_PATTERNS = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), _RUN_PATHS.get(path)) for path in PATHS]
_KEPT_HEADERS = ("content-type", "content-location", "location", "etag", "link")
_GONE = f"The run of this {HEADER} is over, and gone with its thread."
_LOST = f"What this {HEADER} asked for was made; the answer was lost. List it to see it."


@dataclass(frozen=True)
class Claim:
    """A key that this request has to itself.

    Attributes:
        row_id: Of the key's row.
        token: Of this request: who has not the latest one writes nothing.
        made_id: The id of the run that is made, if one is.
    """

    row_id: str
    token: UUID
    created_id: UUID

    async def mark_created(self, connection: Connection) -> None:
        """Say in the transaction of a run, or of some, that it is there: it is not made again, even when it has gone.

        Raises:
            Conflict: if this request was taken for dead, and another one has the key now.
        """
        cursor = await connection.execute(
            "UPDATE idempotency_keys SET made = true WHERE id = %s AND claim = %s", [self.row_id, self.token]
        )
        if not cursor.rowcount:
            raise Conflict(f"Another request with this {HEADER} is being served.", headers={"Retry-After": "1"})


def current_claim(request: Request) -> Claim | None:
    """Return what a request has claimed; None where it came without a key."""
    claim: Claim | None = getattr(request.state, "idempotency", None)
    return claim


@dataclass(frozen=True)
class Idempotency:
    """Does a request once.

    Attributes:
        pool: Of the database's connections.
        lease_seconds: After which a request that says nothing is taken for dead.
    """

    pool: Pool
    lease_seconds: float

    async def serve(self, app: ASGIApp, owner_id: UUID, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer with what it was answered before.

        Raises:
            IdempotencyKeyReused: if the key came with another request.
            Conflict: if that is being served, and gives nothing that could be waited for.
        """
        headers = Headers(scope=scope)
        key = headers.get(HEADER)
        operation = None if key is None else _operation(scope)
        if key is None or operation is None:
            await app(scope, receive, send)
            return
        if not _KEY.fullmatch(key):
            message = "must be 1 to 255 visible ASCII characters"
            raise RequestValidationError([{"type": "idempotency_key", "loc": ("header", HEADER), "msg": message}])
        body = _Body(receive, headers, scope["query_string"], key)
        fingerprint = None if body.boundary else await body.read()  # a form may hold a large file
        row = await self._claim(_row_id(owner_id, scope, key), owner_id, fingerprint)
        if not row["fresh"]:
            if row["status"] is not None and fingerprint is None:
                fingerprint = await body.read()
            if fingerprint is not None and row["fingerprint"] not in (None, fingerprint):
                raise IdempotencyKeyReused(f"This {HEADER} came with another request before.")
            if row["body"] is not None:
                await _replay(row, send)
                return
            if operation.follow_up is not None and (thread_id := await self._thread_of(owner_id, row["made_id"])):
                await _answer_with_run(f"/threads/{thread_id}/runs/{row['made_id']}{operation.follow_up}", scope, receive, send)
                return
            _refuse_unless_claimed(row, operation)
        claim = Claim(row["id"], row["claim"], row["made_id"])
        scope.setdefault("state", {})["idempotency"] = claim
        await self._serve_claimed(app, claim, body, scope, send)

    async def _serve_claimed(self, app: ASGIApp, claim: Claim, body: "_Body", scope: Scope, send: Send) -> None:
        answer = _RecordedResponse()
        known = False
        keeping = asyncio.create_task(self._extend_lease(claim))

        async def record(message: Message) -> None:
            nonlocal known
            if not known and answer.add(message):
                known = True
                keeping.cancel()
                await self._settle(claim, answer, body.fingerprint())
            await send(message)

        try:
            await app(scope, body.receive, record)
        finally:
            keeping.cancel()
            if not known:  # it was cut short
                await asyncio.shield(self._expire(claim))

    async def _extend_lease(self, claim: Claim) -> None:
        """Extend the lease until cancelled."""
        while True:
            await asyncio.sleep(self.lease_seconds / 3)
            await self._update(
                """
                UPDATE idempotency_keys SET lease_until = now() + make_interval(secs => %(lease)s)
                WHERE id = %(id)s AND claim = %(claim)s
                """,
                claim,
                lease=self.lease_seconds,
            )

    async def _settle(self, claim: Claim, answer: "_RecordedResponse", fingerprint: str) -> None:
        if answer.status >= 500:
            await self._expire(claim)
        elif answer.status >= 400:
            await self._release(claim)
        else:
            await self._update(
                """
                UPDATE idempotency_keys SET status = %(status)s, headers = %(headers)s, body = %(body)s, made = true,
                    fingerprint = %(fingerprint)s
                WHERE id = %(id)s AND claim = %(claim)s
                """,
                claim,
                status=answer.status,
                headers=Jsonb(answer.headers),
                body=answer.body(),
                fingerprint=fingerprint,
            )

    async def _claim(self, row_id: str, owner_id: UUID, fingerprint: str | None) -> Row:
        """Claim a key that is new, or whose request was given up; else return how it stands."""
        parameters = {
            "id": row_id,
            "owner": owner_id,
            "fingerprint": fingerprint,
            "claim": uuid4(),
            "made_id": uuid7(),
            "lease": self.lease_seconds,
        }
        async with connected(self.pool) as connection:
            while True:
                claimed = await (await connection.execute(_CLAIM, parameters)).fetchone()
                row = claimed or await (await connection.execute(_LOOK, parameters)).fetchone()
                if row is not None:  # else it was set free between the two
                    fresh = row["claim"] == parameters["claim"] and row["made_id"] == parameters["made_id"]
                    return row | {"claimed": claimed is not None, "fresh": fresh}

    async def _thread_of(self, owner_id: UUID, run_id: UUID) -> UUID | None:
        """Return the thread of a run, if it is there."""
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT thread_id FROM runs WHERE run_id = %s AND owner_id = %s", [run_id, owner_id]
            )
            row = await cursor.fetchone()
        return row["thread_id"] if row else None

    async def _release(self, claim: Claim) -> None:
        await self._update("DELETE FROM idempotency_keys WHERE id = %(id)s AND claim = %(claim)s AND NOT made", claim)

    async def _expire(self, claim: Claim) -> None:
        await self._update(
            "UPDATE idempotency_keys SET lease_until = now() WHERE id = %(id)s AND claim = %(claim)s", claim
        )

    async def _update(self, statement: Any, claim: Claim, **more: object) -> None:  # noqa: ANN401  a literal
        """Write something about a claim. What the database cannot take now, it knows of when the lease is over."""
        try:
            async with connected(self.pool) as connection:
                await connection.execute(statement, {"id": claim.row_id, "claim": claim.token, **more})
        except ServiceError as error:
            logger.warning("an idempotency key was left as it is: {}", error.detail)


_CLAIM = """
    INSERT INTO idempotency_keys AS known (id, owner_id, fingerprint, claim, made_id, made, lease_until, created_at)
    VALUES (%(id)s, %(owner)s, %(fingerprint)s, %(claim)s, %(made_id)s, false,
        now() + make_interval(secs => %(lease)s), now())
    ON CONFLICT (id) DO UPDATE SET claim = excluded.claim, lease_until = excluded.lease_until,
        fingerprint = excluded.fingerprint
    WHERE known.status IS NULL AND NOT known.made AND known.lease_until < now()
        AND (known.fingerprint IS NULL OR known.fingerprint = excluded.fingerprint)
    RETURNING id, claim, made_id, made, true AS held, fingerprint, status, headers, body
"""
_LOOK = """
    SELECT id, claim, made_id, made, lease_until > now() AS held, fingerprint, status, headers, body
    FROM idempotency_keys WHERE id = %(id)s
"""


@dataclass(frozen=True)
class _Operation:
    follow_up: Literal["", "/join", "/stream"] | None


def _refuse_unless_claimed(row: Row, operation: _Operation) -> None:
    if row["made"] and operation.follow_up is not None:
        raise Conflict(_GONE)
    if row["made"] and not row["held"]:
        raise Conflict(_LOST)
    if not row["claimed"]:
        raise Conflict(f"The request with this {HEADER} is still being served.", headers={"Retry-After": "1"})


def _row_id(owner_id: UUID, scope: Scope, key: str) -> str:
    return sha256(f"{owner_id} {scope['method']} {_path(scope)} {key}".encode()).hexdigest()


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _operation(scope: Scope) -> _Operation | None:
    """Return what a request makes, if it makes something."""
    if scope["method"] != "POST":
        return None
    path = _path(scope)
    return next((_Operation(then) for pattern, then in _PATTERNS if pattern.fullmatch(path)), None)


class _Body:
    """A request's body, which is hashed on its way. A form's boundary, which is another each time, is left out.

    The hash begins with the key, which is not stored: there may be a password in the body, and whoever came upon the
    hash must not be able to try what it was.
    """

    def __init__(self, receive: Receive, headers: Headers, query: bytes, key: str) -> None:
        kind, options = parse_options_header(headers.get("content-type", ""))
        self.boundary = options.get(b"boundary", b"") if kind == b"multipart/form-data" else b""
        self._receive = receive
        self._hash = sha256(b"\n".join([key.encode(), query, kind, b""]))
        self._tail = b""
        self._read: list[Message] = []
        self._complete = False

    async def read(self) -> str:
        """Read all of it, to be received again; a form's only to be hashed. Returns its fingerprint."""
        while not self._complete:
            message = await self._next()
            if not self.boundary:
                self._read.append(message)
        return self.fingerprint()

    async def receive(self) -> Message:
        """Receive it."""
        return self._read.pop(0) if self._read else await self._next()

    def fingerprint(self) -> str:
        """Return the hash of all that was received."""
        whole = self._hash.copy()
        whole.update(self._tail)
        return whole.hexdigest()

    async def _next(self) -> Message:
        message = await self._receive()
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        self._add(message.get("body", b""))
        return message

    def _add(self, data: bytes) -> None:
        if not self.boundary:
            self._hash.update(data)
            return
        *whole, rest = (self._tail + data).split(self.boundary)
        for part in whole:
            self._hash.update(part + b"\n")
        keep = len(self.boundary) - 1  # it may begin there
        self._hash.update(rest[: max(0, len(rest) - keep)])
        self._tail = rest[max(0, len(rest) - keep) :]


class _RecordedResponse:
    """What an answer is made of, as far as it is kept: all of it but the events of a stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._streams = False
        self._pieces: list[bytes] = []

    def add(self, message: Message) -> bool:
        """Take a part of it; return whether there is nothing more to be known."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message["headers"])
            self.headers = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
            self._streams = headers.get("content-type", "").startswith("text/event-stream")
            return self._streams
        if not self._streams:
            self._pieces.append(message.get("body", b""))
        return not message.get("more_body", False)

    def body(self) -> bytes | None:
        """Return the body; None of a stream."""
        return None if self._streams else b"".join(self._pieces)


async def _replay(row: Row, send: Send) -> None:
    headers: Mapping[str, str] = row["headers"] | {REPLAYED_HEADER.lower(): "true", "content-length": str(len(row["body"]))}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": row["status"], "headers": raw})
    await send({"type": "http.response.body", "body": bytes(row["body"])})


async def _answer_with_run(path: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the run that is there: show it, wait for it, or give its events."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (REPLAYED_HEADER.lower().encode(), b"true")]
        await send(message)

    full = scope.get("root_path", "") + path
    chosen = ("fastapi", "route", "endpoint", "path_params", "router")
    asked = {name: value for name, value in scope.items() if name not in chosen}
    asked |= {"method": "GET", "path": full, "raw_path": full.encode(), "query_string": b""}
    try:
        await scope["app"].router(asked, receive, send_marked)
    except NotFound:
        raise Conflict(_GONE) from None


def describe(document: dict[str, Any]) -> None:
    """Add the header to the operations of an OpenAPI document that take it."""
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Chosen by the client: the same request with the same key is served once, and answered alike.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]+$"},
    }
    for path in PATHS:
        operation = document["paths"][path]["post"]
        operation.setdefault("parameters", []).append(parameter)
        add_errors(operation, Conflict, IdempotencyKeyReused)
