"""Guards of routers: `Authenticated` requires a valid token or API key, `Public` does not. Both limit request rates."""

from collections.abc import AsyncIterator, Callable
from functools import cached_property, partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from project4_agent_api.accounts.api_keys import is_api_key
from project4_agent_api.accounts.authenticator import Authenticator
from project4_agent_api.accounts.authorization import authorize
from project4_agent_api.accounts.open_responses import OpenResponses
from project4_agent_api.accounts.principal_cache import PrincipalCache
from project4_agent_api.accounts.principals import LOCAL_USER, Principal
from project4_agent_api.accounts.tokens import is_mcp_token
from project4_agent_api.core.idempotency import Idempotency
from project4_agent_api.core.rate_limits import RateLimitResult
from project4_agent_api.core.request_costs import serve_metered
from project4_agent_api.core.run_context import set_user
from project4_agent_api.core.state import find
from project4_agent_api.models import AccountRole
from shared.errors import DatabaseUnavailable, Forbidden, NotFound, ServiceError, TooManyRequests, Unauthorized
from shared.paths import route_path
from shared.problems import error_responses
from shared.xray.access import Access, Viewer

MCP_PATH = "/mcp"  # the only path that accepts the tokens of OAuth clients

# A relative URL, like every URL in /docs: a proxy may serve the app under a prefix.
_token = OAuth2PasswordBearer(tokenUrl="auth/token", auto_error=False, scheme_name="Token")
_api_key = APIKeyHeader(name="X-Api-Key", auto_error=False, scheme_name="ApiKey")


async def current_principal(
    request: Request,
    _: Annotated[str | None, Depends(_token)],  # for the OpenAPI document
    __: Annotated[str | None, Depends(_api_key)],
) -> Principal:
    """Return the principal that `Authenticated` has stored in the request."""
    principal: Principal = request.state.principal
    return principal


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


async def current_account(principal: CurrentPrincipal) -> UUID:
    """Return the id of the caller's account.

    Raises:
        NotFound: if AUTH_REQUIRED is false.
    """
    if principal is LOCAL_USER:
        raise NotFound("There are no accounts: AUTH_REQUIRED is false, and everyone is one local user.")
    if principal.project_user:
        raise NotFound("There are no accounts: the project authenticates its users itself.")
    return principal.account_id


CurrentAccount = Annotated[UUID, Depends(current_account)]


async def require_administrator(principal: CurrentPrincipal) -> None:
    """Reject callers who are not administrators.

    Raises:
        Forbidden: if the caller has another role.
    """
    if principal.role != AccountRole.ADMIN:
        raise Forbidden("This is for administrators.")


async def require_sign_in(principal: CurrentPrincipal) -> None:
    """Reject API keys and OAuth clients: a leaked key must not be enough to create further keys.

    Raises:
        Forbidden: if the caller sent an API key, or the token of an OAuth client.
    """
    if principal.authenticated_by in ("api_key", "oauth"):
        raise Forbidden("An API key is not sufficient for this operation. Sign in.")


async def invalidate_principals(request: Request, principal: CurrentPrincipal) -> AsyncIterator[None]:
    """Invalidate the caller's cached principals in all processes when the route has finished."""
    cache = find(request.app, PrincipalCache)
    try:
        yield
    finally:
        await cache.invalidate(principal.account_id)


# "function": after the commit of the route's session, and before the response is sent.
InvalidatePrincipals = Depends(invalidate_principals, scope="function")


class _Guard(APIRouter):
    """A router that is searched only for paths that start as one of its routes does.

    FastAPI searches the routes of each router in turn, once for each level of nesting: a tenth of the CPU time for a
    request, most of it for routers whose paths all start with another word.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a route matches."""
        if _first_word(route_path(scope)) not in self._first_words:
            return Match.NONE, {}
        return super().matches(scope)

    @cached_property
    def _first_words(self) -> frozenset[str]:
        return frozenset(_first_word(route.path or "") for route in iter_route_contexts(self.routes))


def _first_word(path: str) -> str:
    return path[1:].partition("/")[0]


class Public(_Guard):
    """Routers that need no authentication. Requests are limited by client address."""

    def __init__(self, *routers: APIRouter) -> None:
        super().__init__(responses=error_responses(TooManyRequests))
        for router in routers:
            self.include_router(router)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope)
        authenticator, address = find(request.app, Authenticator), client_address(request)
        counted = await authenticator.count_anonymous(address)
        counted.check()
        serve, charge = partial(super().handle, scope), partial(authenticator.charge_anonymous, address)
        pacing = authenticator.pacing_of(counted)
        await serve_metered(serve, receive, _with_headers(send, counted), charge, pacing)


class Authenticated(_Guard):
    """Routers that need authentication. Requests are limited by account.

    Args:
        role: Role that callers must have. An administrator has every role.
    """

    def __init__(self, *routers: APIRouter, role: AccountRole = AccountRole.USER) -> None:
        self._for_administrators = role == AccountRole.ADMIN
        errors = [Unauthorized, Forbidden] if self._for_administrators else [Unauthorized]
        super().__init__(
            dependencies=[
                Depends(require_administrator if self._for_administrators else current_principal),
                Depends(authorize),
            ],
            responses=error_responses(*errors, TooManyRequests, DatabaseUnavailable),
        )
        for router in routers:
            self.include_router(router)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. It is authenticated here because FastAPI reads the body before it runs dependencies."""
        request = Request(scope)
        if hasattr(request.state, "served"):  # authenticated already, and redirected by `Idempotency` to its run
            await super().handle(scope, receive, send)
            return
        principal, counted, receive = await authenticate(request, receive)
        request.state.served = True
        try:
            if self._for_administrators:
                await require_administrator(principal)
            idempotency, open_responses = find(request.app, Idempotency), find(request.app, OpenResponses)
            app = partial(idempotency.serve, super().handle, principal.account_id)
            serve = partial(open_responses.serve, app, principal, scope)
            authenticator = find(request.app, Authenticator)
            charge, pacing = partial(authenticator.charge, principal.account_id), authenticator.pacing_of(counted)
            await serve_metered(serve, receive, _with_headers(send, counted), charge, pacing)
        except (ServiceError, RequestValidationError) as error:
            raise _add_headers(error, counted) from error


async def authenticate(connection: HTTPConnection, receive: Receive) -> tuple[Principal, RateLimitResult, Receive]:
    """Authenticate a request and count it, once, and store its principal in the request's state.

    Returns:
        The principal, the request's rate limit, and a `receive` that still returns the whole body.

    Raises:
        Unauthorized, HTTPException: if the credentials are refused.
        TooManyRequests: if a rate limit is exceeded.
    """
    if hasattr(connection.state, "principal"):
        return connection.state.principal, connection.state.counted, receive
    authenticator = find(connection.scope["app"], Authenticator)
    try:
        if authenticator.project_auth:
            principal, counted, receive = await authenticator.authenticate_by_project(connection, receive)
        else:
            principal, counted = await authenticator.authenticate(*_credentials(connection))
    except (Unauthorized, HTTPException) as error:
        counted = await authenticator.count_anonymous(client_address(connection))
        counted.check()
        raise _add_headers(error, counted) from error
    counted.check()
    connection.state.principal, connection.state.counted = principal, counted
    connection.state.owner_id = principal.account_id
    set_user(principal.user, principal.account_id)
    return principal, counted, receive


def _credentials(connection: HTTPConnection) -> tuple[str | None, str | None]:
    """Return the bearer token and the API key of a request. Many clients can only send a key as a bearer token.

    Raises:
        Unauthorized: if the token is an OAuth client's, and the request is not for `/mcp`.
    """
    scheme, _, token = connection.headers.get("Authorization", "").partition(" ")
    api_key = connection.headers.get("X-Api-Key") or None
    if scheme.lower() != "bearer":
        return None, api_key
    issues_tokens = find(connection.scope["app"], Authenticator).mcp_tokens is not None
    if issues_tokens and is_mcp_token(token) and route_path(connection.scope) != MCP_PATH:
        raise Unauthorized("This token is for /mcp only.")
    return (None, token) if is_api_key(token) else (token, api_key)


def client_address(request: HTTPConnection) -> str:
    """Return the client's address: behind a trusted proxy, the one that it reports."""
    return request.client.host if request.client else ""


def _add_headers(error: Exception, counted: RateLimitResult) -> Exception:
    """Add the rate limit's headers to an error that is raised before the response starts."""
    vars(error)["headers"] = counted.headers() | dict(getattr(error, "headers", None) or {})
    return error


def _with_headers(send: Send, counted: RateLimitResult) -> Send:
    """Add the rate limit's headers to a response, unless it has those of another limit."""
    rate_limit_headers = counted.headers()

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in rate_limit_headers.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def viewer_of(request: Request) -> Viewer:
    """Return the caller of the X-ray: users see their own requests, administrators all."""
    principal: Principal = request.state.principal
    return Viewer(principal.account_id, is_administrator=principal.role == AccountRole.ADMIN)


def xray_access(*, auth_required: bool, guard: Callable[[APIRouter], APIRouter] = Authenticated) -> Access:
    """Return who sees the X-ray of a service with accounts."""
    return Access(guard, viewer_of, audience="users" if auth_required else "")
