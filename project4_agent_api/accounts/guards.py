"""The lock: what is behind it is reached by whoever has shown who they are, and by nobody else."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from project4_agent_api.accounts.authenticator import Admission
from project4_agent_api.accounts.principal_cache import KnownAccounts
from project4_agent_api.accounts.principals import LOCAL_USER, Principal
from project4_agent_api.core.idempotency import Idempotency
from project4_agent_api.core.rate_limits import Counted
from project4_agent_api.models import AccountRole
from shared.errors import (
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    ServiceError,
    TooManyRequests,
    Unauthorized,
    documented,
)

# Relative, as everything in /docs: a proxy may serve the app under a prefix.
_token = OAuth2PasswordBearer(tokenUrl="auth/token", auto_error=False, scheme_name="Token")
_api_key = APIKeyHeader(name="X-Api-Key", auto_error=False, scheme_name="ApiKey")


async def authenticated(
    request: Request,
    _: Annotated[str | None, Depends(_token)],  # for the OpenAPI document
    __: Annotated[str | None, Depends(_api_key)],
) -> Principal:
    """Return who is asking, as `Locked` has found out."""
    principal: Principal = request.state.principal
    return principal


CurrentPrincipal = Annotated[Principal, Depends(authenticated)]


async def account(principal: CurrentPrincipal) -> UUID:
    """Return the account of whoever asks.

    Raises:
        NotFound: if there are no accounts.
    """
    if principal is LOCAL_USER:
        raise NotFound("There are no accounts: AUTH_REQUIRED is false, and everyone is one local user.")
    return principal.account_id


CurrentAccount = Annotated[UUID, Depends(account)]


async def administrator(principal: CurrentPrincipal) -> None:
    """Let administrators pass.

    Raises:
        Forbidden: if it is somebody else.
    """
    if principal.role != AccountRole.ADMIN:
        raise Forbidden("This is for administrators.")


async def signed_in(principal: CurrentPrincipal) -> None:
    """Let pass who signed in with a password: a key that got into wrong hands must not be good for more keys.

    Raises:
        Forbidden: if it was an API key.
    """
    if principal.by == "api_key":
        raise Forbidden("An API key is not enough for this. Sign in.")


async def account_changes(request: Request, principal: CurrentPrincipal) -> AsyncIterator[None]:
    """Let no process trust what it remembers of the account, after what was done and before the answer."""
    known: KnownAccounts[Principal] = request.app.state.known_accounts
    try:
        yield
    finally:
        await known.changed(principal.account_id)


# Whatever is done after it has been committed when it ends.
AccountChanges = Depends(account_changes, scope="function")


class Open(APIRouter):
    """Routers that strangers reach, each address so many times a minute.

    Args:
        routers: What is so.
    """

    def __init__(self, *routers: APIRouter) -> None:
        super().__init__(responses=documented(TooManyRequests))
        for router in routers:
            self.include_router(router)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope)
        counted = await _admission(request).admit_stranger(_address(request))
        counted.check()
        await super().handle(scope, receive, _with_headers(send, counted))


class Locked(APIRouter):
    """Routers behind the lock.

    Args:
        routers: What is put behind it.
        role: Who may pass; anyone with an account, if not given.
        dependencies: Of those who pass.
    """

    def __init__(
        self, *routers: APIRouter, role: AccountRole = AccountRole.USER, dependencies: Sequence[params.Depends] = ()
    ) -> None:
        self._for_administrators = role == AccountRole.ADMIN
        errors = [Unauthorized, Forbidden] if self._for_administrators else [Unauthorized]
        super().__init__(
            dependencies=[Depends(administrator if self._for_administrators else authenticated), *dependencies],
            responses=documented(*errors, TooManyRequests, DatabaseUnavailable),
        )
        for router in routers:
            self.include_router(router)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. FastAPI reads its body before it asks any dependency; a stranger's is not even read."""
        request = Request(scope)
        if hasattr(request.state, "principal"):  # it was let in, and asks for the answer of another operation
            await super().handle(scope, receive, send)
            return
        admission = _admission(request)
        try:
            principal, counted = await admission.admit(await _token(request), await _api_key(request))
        except Unauthorized as error:
            counted = await admission.admit_stranger(_address(request))
            counted.check()
            raise _told(error, counted) from error
        counted.check()
        request.state.principal = principal
        request.state.owner_id = principal.account_id
        try:
            if self._for_administrators:
                await administrator(principal)
            once: Idempotency = request.app.state.idempotency
            await once.serve(super().handle, principal.account_id, scope, receive, _with_headers(send, counted))
        except (ServiceError, RequestValidationError) as error:
            raise _told(error, counted) from error


def _admission(request: Request) -> Admission:
    admission: Admission = request.app.state.admission
    return admission


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _told(error: Exception, counted: Counted) -> Exception:
    """Let an error that is raised before there is an answer say what the limit is."""
    vars(error)["headers"] = counted.headers() | dict(getattr(error, "headers", None) or {})
    return error


def _with_headers(send: Send, counted: Counted) -> Send:
    """Let an answer say what the limit is, if it does not speak of another one."""
    ours = counted.headers()

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ours.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
