"""The lock: what is behind it is reached by whoever has shown who they are, and by nobody else."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, params
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.types import Receive, Scope, Send

from project4_agent_api.accounts.authentication import LOCAL_USER, Principal, identify
from project4_agent_api.models import AccountRole
from shared.errors import DatabaseUnavailable, Forbidden, NotFound, Unauthorized, documented

# Relative, as everything in /docs: a proxy may serve the app under a prefix.
_token = OAuth2PasswordBearer(tokenUrl="auth/token", auto_error=False, scheme_name="Token")
_api_key = APIKeyHeader(name="X-Api-Key", auto_error=False, scheme_name="ApiKey")


async def authenticated(
    request: Request,
    token: Annotated[str | None, Depends(_token)],
    api_key: Annotated[str | None, Depends(_api_key)],
) -> Principal:
    """Return who is asking, and let `shared.owner` know.

    Raises:
        Unauthorized: if that was not shown.
    """
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        principal = await identify(request, token, api_key)
        request.state.principal = principal
        request.state.owner_id = principal.account_id
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
            responses=documented(*errors, DatabaseUnavailable),
        )
        for router in routers:
            self.include_router(router)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. FastAPI reads its body before it asks any dependency; a stranger's is not even read."""
        request = Request(scope)
        principal = await authenticated(request, await _token(request), await _api_key(request))
        if self._for_administrators:
            await administrator(principal)
        await super().handle(scope, receive, send)
