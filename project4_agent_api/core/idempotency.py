"""`Idempotency-Key`: a request that is repeated with its key, at any process, is executed once.

The header is that of draft-ietf-httpapi-idempotency-key-header. A key belongs to a user, a method and a path. Its row
in PostgreSQL is claimed before the request is executed. The claim has a lease, so that a process that dies does not
block the key. The response is stored in the row and replayed, with `Idempotency-Replayed: true`, until retention
deletes it. After a 4xx response nothing was created, and the key is released; after a 5xx response the request can be
repeated.

A run outlives its response. It gets the id that is stored in the row, so that a second request joins the run or streams
its events. For several runs (`/runs/batch`) their transaction marks the row: if the response was lost it cannot be
replayed, but nothing is created again. Operations that respond with a secret (`/auth`) take no key, because secrets are
not stored.
"""

import asyncio
import re
from hashlib import sha256
from typing import Any
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from project4_agent_api.core.idempotency_keys import Claim, IdempotencyKeys, KeyState
from project4_agent_api.core.idempotency_messages import REPLAYED_HEADER, FingerprintedBody, RecordedResponse, replay
from project4_agent_api.core.postgres import Pool
from shared.app import add_error_responses
from shared.errors import Conflict, IdempotencyKeyReused, NotFound
from shared.paths import route_path

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# Operations that create a run, and the route of that run which serves a repeated request.
_RUN_ROUTES = {
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
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/conversations",
    *_RUN_ROUTES,
)
_PATTERNS = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in PATHS}
_RUN_DELETED = f"The run of this {HEADER} has ended and was deleted with its thread."
_RESPONSE_LOST = f"The operation of this {HEADER} succeeded, but its response was lost. List its result to see it."


def current_claim(request: HTTPConnection) -> Claim | None:
    """Return the claim of a request, or None if it came without a key."""
    claim: Claim | None = getattr(request.state, "idempotency", None)
    return claim


class Idempotency:
    """Executes requests with an `Idempotency-Key` once."""

    def __init__(self, pool: Pool, lease_seconds: float) -> None:
        self._keys = IdempotencyKeys(pool, lease_seconds)

    async def serve(self, app: ASGIApp, owner_id: UUID, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or replay the response of an earlier request with its key.

        Raises:
            IdempotencyKeyReused: if the key was used for a different request.
            Conflict: if the earlier request is in progress, and is not a run that can be joined.
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
        body = FingerprintedBody(receive, headers, scope["query_string"], key)
        fingerprint = None if body.boundary else await body.read()  # a form may contain a large file
        state = await self._keys.claim(_row_id(owner_id, scope, key), owner_id, fingerprint)
        if not state.new:
            if state.status is not None and fingerprint is None:
                fingerprint = await body.read()
            if fingerprint is not None and state.fingerprint not in (None, fingerprint):
                raise IdempotencyKeyReused(f"This {HEADER} was used for a different request.")
            if state.status is not None and state.headers is not None and state.body is not None:
                await replay(state.status, state.headers, state.body, send)
                return
            run_route, run_id = _RUN_ROUTES.get(operation), state.claim.created_id
            if run_route is not None and (thread_id := await self._keys.thread_of_run(owner_id, run_id)):
                await _serve_run(f"/threads/{thread_id}/runs/{run_id}{run_route}", scope, receive, send)
                return
            _require_claim(state, creates_run=run_route is not None)
        scope.setdefault("state", {})["idempotency"] = state.claim
        await self._serve_claimed(app, state.claim, body, scope, send)

    async def _serve_claimed(
        self, app: ASGIApp, claim: Claim, body: FingerprintedBody, scope: Scope, send: Send
    ) -> None:
        response = RecordedResponse()
        settled = False
        lease = asyncio.create_task(self._extend_lease(claim))

        async def record(message: Message) -> None:
            nonlocal settled
            if not settled and response.add(message):
                settled = True
                lease.cancel()
                await self._settle(claim, response, body.fingerprint())
            await send(message)

        try:
            await app(scope, body.receive, record)
        finally:
            lease.cancel()
            if not settled:  # the request was cancelled
                await asyncio.shield(self._keys.expire(claim))

    async def _extend_lease(self, claim: Claim) -> None:
        """Extend the lease until cancelled."""
        while True:
            await asyncio.sleep(self._keys.lease_seconds / 3)
            await self._keys.extend(claim)

    async def _settle(self, claim: Claim, response: RecordedResponse, fingerprint: str) -> None:
        if response.status >= 500:
            await self._keys.expire(claim)
        elif response.status >= 400:
            await self._keys.release(claim)
        else:
            await self._keys.store_response(claim, response, fingerprint)


def _require_claim(state: KeyState, *, creates_run: bool) -> None:
    if state.created and creates_run:
        raise Conflict(_RUN_DELETED)
    if state.created and not state.leased:
        raise Conflict(_RESPONSE_LOST)
    if not state.claimed:
        raise Conflict(f"The first request with this {HEADER} is in progress.", headers={"Retry-After": "1"})


def _row_id(owner_id: UUID, scope: Scope, key: str) -> str:
    return sha256(f"{owner_id} {scope['method']} {route_path(scope)} {key}".encode()).hexdigest()


def _operation(scope: Scope) -> str | None:
    """Return the path template of an operation that takes a key, or None for any other."""
    if scope["method"] != "POST":
        return None
    path = route_path(scope)
    return next((template for template, pattern in _PATTERNS.items() if pattern.fullmatch(path)), None)


async def _serve_run(path: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a repeated request with a route of its run: show it, join it, or stream its events."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (REPLAYED_HEADER.lower().encode(), b"true")]
        await send(message)

    full_path = scope.get("root_path", "") + path
    routing_results = ("fastapi", "route", "endpoint", "path_params", "router")
    redirected = {name: value for name, value in scope.items() if name not in routing_results}
    redirected |= {"method": "GET", "path": full_path, "raw_path": full_path.encode(), "query_string": b""}
    try:
        await scope["app"].router(redirected, receive, send_marked)
    except NotFound:
        raise Conflict(_RUN_DELETED) from None


def describe(document: dict[str, Any]) -> None:
    """Add the header to the operations of an OpenAPI document that take it."""
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Chosen by the client. Repeated requests with the same key are executed once, and get the same "
        "response.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]+$"},
    }
    for path in document["paths"].keys() & PATHS:  # a chapter of the course has some of them
        operation = document["paths"][path]["post"]
        operation.setdefault("parameters", []).append(parameter)
        add_error_responses(operation, Conflict, IdempotencyKeyReused)
