"""Accounts: registering, signing in and out, the caller's own account, and its API keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request

from project2_user_mgmt import users
from project2_user_mgmt.passwords import hash_password, verify_and_update
from project4_agent_api.accounts import api_keys, usage
from project4_agent_api.accounts import service as accounts
from project4_agent_api.accounts.deletion import AccountDataDep
from project4_agent_api.accounts.guards import (
    CurrentAccount,
    CurrentPrincipal,
    InvalidatePrincipals,
    client_address,
    require_sign_in,
)
from project4_agent_api.accounts.invitations import Invitations
from project4_agent_api.accounts.login_throttle import LoginThrottleDep
from project4_agent_api.accounts.schemas import (
    AccountCreate,
    AccountRead,
    AccountUpdate,
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyPage,
    ApiKeyRead,
    InvitationCreate,
    InvitationRead,
    RefreshRequest,
    SignInForm,
    TokenPair,
)
from project4_agent_api.accounts.service import PasswordChange
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.core.rate_limits import client_network
from project4_agent_api.core.state import from_state
from project4_agent_api.models import AccountRole
from project4_agent_api.settings import Settings
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    RedisUnavailable,
    TooManyRequests,
    Unauthorized,
)
from shared.pagination import PageCursor, PageSize, decode_cursor, split_page
from shared.problems import error_responses

router = APIRouter(prefix="/auth", tags=["accounts"], responses=error_responses(DatabaseUnavailable))
own_router = APIRouter(prefix="/auth", tags=["accounts"], responses=error_responses(NotFound))
api_key_router = APIRouter(prefix="/auth/api-keys", tags=["accounts"], responses=error_responses(NotFound))
own_router.include_router(usage.router)
admin_router = APIRouter(tags=["accounts"])
admin_router.include_router(usage.admin_router)

InvitationsDep = Annotated[Invitations, Depends(from_state(Invitations))]
SettingsDep = Annotated[Settings, Depends(from_state(Settings))]
SignInsDep = Annotated[SignIns, Depends(from_state(SignIns))]


async def throttle_address(request: Request, throttle: LoginThrottleDep) -> None:
    """Count an attempt from the client's address at this path."""
    await throttle.count_address(client_address(request), request.url.path)


async def invited_password_hash(body: AccountCreate, invitations: InvitationsDep) -> str:
    """Hash the password before the transaction starts, if the e-mail may be registered.

    Raises:
        Forbidden: if it may not.
    """
    invitations.require(body.email, body.invitation.get_secret_value() if body.invitation else None)
    return await hash_password(body.password)


@router.post(
    "/register",
    status_code=201,
    dependencies=[Depends(throttle_address)],
    responses=error_responses(Conflict, Forbidden, TooManyRequests),
)
async def register(
    body: AccountCreate, password_hash: Annotated[str, Depends(invited_password_hash)], session: SessionDep
) -> AccountRead:
    """Create an account. An e-mail, compared without case, belongs to one account only."""
    user = await users.create_user(session, body, password_hash)
    return accounts.account_read(user, AccountRole.USER)


@router.post(
    "/token", dependencies=[Depends(throttle_address)], responses=error_responses(Unauthorized, TooManyRequests)
)
async def sign_in(
    form: Annotated[SignInForm, Form()], request: Request, sign_ins: SignInsDep, throttle: LoginThrottleDep
) -> TokenPair:
    """Sign in with e-mail and password. The "Authorize" button of this page uses it."""
    network = client_network(client_address(request))
    credentials, known_network = await sign_ins.load_credentials(form.username, network)
    target = credentials.user_id if credentials else form.username
    async with throttle.count_wrong_passwords(target, known_network) as attempt:
        verified = await sign_ins.verify(credentials, form.password)
        attempt.correct = verified is not None
    return await sign_ins.create(verified, form.password, network)


@router.post("/refresh", responses=error_responses(Unauthorized))
async def refresh(body: RefreshRequest, sign_ins: SignInsDep) -> TokenPair:
    """Exchange a refresh token for a new pair. A refresh token that is used twice ends its sign-in."""
    return await sign_ins.refresh(body.refresh_token)


@router.post("/logout", status_code=204)
async def sign_out(body: RefreshRequest, sign_ins: SignInsDep) -> None:
    """Sign out: all tokens of this sign-in become invalid."""
    await sign_ins.sign_out(body.refresh_token)


@own_router.post(
    "/logout-all",
    status_code=204,
    dependencies=[Depends(require_sign_in), InvalidatePrincipals],
    responses=error_responses(Forbidden),
)
async def sign_out_everywhere(account_id: CurrentAccount, session: SessionDep) -> None:
    """End all sign-ins of the account, including this one. API keys stay valid."""
    await accounts.end_sign_ins(session, account_id)


@own_router.get("/me")
async def show_own_account(account_id: CurrentAccount, session: ReadSessionDep) -> AccountRead:
    """Show the caller's account."""
    return await accounts.read_account(session, account_id)


async def verified_password_change(
    body: AccountUpdate,
    request: Request,
    account_id: CurrentAccount,
    sessions: SessionsDep,
    sign_ins: SignInsDep,
    throttle: LoginThrottleDep,
) -> PasswordChange | None:
    """Verify the old password and hash the new one, if there is one, before a transaction begins.

    Raises:
        Forbidden: if the old password is wrong.
        NotFound: if the account was deleted.
        TooManyRequests: after too many wrong passwords, here or in `sign_in`. A stolen token must not allow guessing.
    """
    if body.password is None or body.old_password is None:
        return None
    async with transaction(sessions) as session:
        user = await users.get_user(session, account_id)
        network = client_network(client_address(request))
        known_network = await sign_ins.find_network(session, account_id, user.password_hash, network)
    async with throttle.count_wrong_passwords(account_id, known_network) as attempt:
        attempt.correct, _ = await verify_and_update(body.old_password, user.password_hash)
    if not attempt.correct:
        raise Forbidden("The old password is wrong.")
    return PasswordChange(await hash_password(body.password), user.version)


@own_router.patch(
    "/me",
    dependencies=[Depends(require_sign_in), InvalidatePrincipals],
    responses=error_responses(Forbidden, Conflict, TooManyRequests),
)
async def update_own_account(
    body: AccountUpdate,
    principal: CurrentPrincipal,
    account_id: CurrentAccount,
    password: Annotated[PasswordChange | None, Depends(verified_password_change)],
    session: SessionDep,
) -> AccountRead:
    """Change the given fields. A new password requires the old one, and ends all other sign-ins."""
    user = await accounts.update_account(session, account_id, body, password, principal.sign_in_id)
    return accounts.account_read(user, principal.role)


@own_router.delete(
    "/me",
    status_code=204,
    dependencies=[Depends(require_sign_in), InvalidatePrincipals],
    responses=error_responses(Forbidden, DatabaseUnavailable, RedisUnavailable),
)
async def delete_own_account(account_id: CurrentAccount, account_data: AccountDataDep, session: SessionDep) -> None:
    """Delete the account with all its data: documents, threads, memories, keys."""
    await account_data.delete(account_id)
    await users.delete_user(session, account_id)
    await account_data.delete_later(session, account_id)


@admin_router.post("/invitations", status_code=201)
async def create_invitation(body: InvitationCreate, invitations: InvitationsDep) -> InvitationRead:
    """Invite an e-mail to register. The service does not send it."""
    return InvitationRead(email=body.email, invitation=invitations.create(body.email, body.days))


@api_key_router.post("", status_code=201, dependencies=[Depends(require_sign_in)], responses=error_responses(Forbidden))
async def create_api_key(
    body: ApiKeyCreate, account_id: CurrentAccount, session: SessionDep, settings: SettingsDep
) -> ApiKeyCreated:
    """Create a key for a program, which sends it as `X-Api-Key`. Only this response contains the key."""
    row, key = await api_keys.create_api_key(session, account_id, body, limit=settings.user_api_keys_max)
    return ApiKeyCreated(key=key, **row.model_dump())


@api_key_router.get("")
async def list_api_keys(
    account_id: CurrentAccount, session: ReadSessionDep, limit: PageSize = 20, cursor: PageCursor = None
) -> ApiKeyPage:
    """List keys, newest first, page by page."""
    before = decode_cursor(cursor) if cursor else None
    rows = await api_keys.list_api_keys(session, account_id, before=before, limit=limit + 1)
    page, next_cursor = split_page(rows, limit)
    return ApiKeyPage(items=[ApiKeyRead.model_validate(row) for row in page], next_cursor=next_cursor)


@api_key_router.delete(
    "/{key_id}",
    status_code=204,
    dependencies=[Depends(require_sign_in), InvalidatePrincipals],
    responses=error_responses(Forbidden),
)
async def delete_api_key(key_id: UUID, account_id: CurrentAccount, session: SessionDep) -> None:
    """Delete a key, which becomes invalid at once."""
    await api_keys.delete_api_key(session, account_id, key_id)
