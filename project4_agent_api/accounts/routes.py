"""Accounts: register, sign in, refresh, sign out; and one's own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request

from project2_user_mgmt import users
from project2_user_mgmt.routes.users import hashed_password
from project4_agent_api.accounts import service as accounts
from project4_agent_api.accounts.deletion import BelongingsDep
from project4_agent_api.accounts.guards import AccountChanges, CurrentAccount, CurrentPrincipal, signed_in
from project4_agent_api.accounts.login_throttle import AttemptsDep
from project4_agent_api.accounts.schemas import (
    AccountCreate,
    AccountRead,
    AccountUpdate,
    RefreshRequest,
    SignInForm,
    TokenPair,
)
from project4_agent_api.accounts.service import PasswordChange
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.models import AccountRole
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep
from shared.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    RedisUnavailable,
    TooManyRequests,
    Unauthorized,
    documented,
)

router = APIRouter(prefix="/auth", tags=["accounts"], responses=documented(DatabaseUnavailable))
own_router = APIRouter(prefix="/auth", tags=["accounts"], responses=documented(NotFound))


async def get_sign_ins(request: Request) -> SignIns:
    """Return what makes, continues and ends sign-ins."""
    sign_ins: SignIns = request.app.state.sign_ins
    return sign_ins


SignInsDep = Annotated[SignIns, Depends(get_sign_ins)]


async def not_too_often(request: Request, attempts: AttemptsDep) -> None:
    """Count an attempt from the client's address at what it asks for."""
    await attempts.from_address(request.client.host if request.client else "", request.url.path)


@router.post(
    "/register",
    status_code=201,
    dependencies=[Depends(not_too_often)],
    responses=documented(Conflict, TooManyRequests),
)
async def register(
    body: AccountCreate, password_hash: Annotated[str, Depends(hashed_password)], session: SessionDep
) -> AccountRead:
    """Make an account. An e-mail has one account only, whatever its case."""
    user = await users.create_user(session, body, password_hash)
    return accounts.shown(user, AccountRole.USER)


@router.post("/token", dependencies=[Depends(not_too_often)], responses=documented(Unauthorized, TooManyRequests))
async def sign_in(form: Annotated[SignInForm, Form()], sign_ins: SignInsDep, attempts: AttemptsDep) -> TokenPair:
    """Sign in with e-mail and password. "Authorize", above, does so for this page."""
    known = await sign_ins.credentials(form.username)
    target = known.user_id if known else form.username
    await attempts.at_account(target)
    pair = await sign_ins.sign_in(known, form.password)
    await attempts.succeeded(target)
    return pair


@router.post("/refresh", responses=documented(Unauthorized))
async def refresh(body: RefreshRequest, sign_ins: SignInsDep) -> TokenPair:
    """Take a refresh token for a new pair. A refresh token that is used twice ends its sign-in."""
    return await sign_ins.refresh(body.refresh_token)


@router.post("/logout", status_code=204)
async def sign_out(body: RefreshRequest, sign_ins: SignInsDep) -> None:
    """Sign out: no token of this sign-in is good any more."""
    await sign_ins.sign_out(body.refresh_token)


@own_router.post(
    "/logout-all",
    status_code=204,
    dependencies=[Depends(signed_in), AccountChanges],
    responses=documented(Forbidden),
)
async def sign_out_everywhere(account_id: CurrentAccount, session: SessionDep) -> None:
    """Sign out everywhere, here too. API keys stay."""
    await accounts.end_sign_ins(session, account_id)


@own_router.get("/me")
async def show_own_account(account_id: CurrentAccount, session: ReadSessionDep) -> AccountRead:
    """Show the account of whoever asks."""
    return await accounts.read_account(session, account_id)


async def password_change(
    body: AccountUpdate, account_id: CurrentAccount, sessions: SessionsDep, attempts: AttemptsDep
) -> PasswordChange | None:
    """Verify the old password and hash the new one, if there is one, before there is a transaction."""
    if body.password is None:
        return None
    await attempts.at_account(account_id)  # whoever found a token must not find the password with it
    change = await accounts.check_password_change(sessions, account_id, body)
    await attempts.succeeded(account_id)
    return change


@own_router.patch(
    "/me",
    dependencies=[Depends(signed_in), AccountChanges],
    responses=documented(Forbidden, Conflict, TooManyRequests),
)
async def update_own_account(
    body: AccountUpdate,
    principal: CurrentPrincipal,
    account_id: CurrentAccount,
    password: Annotated[PasswordChange | None, Depends(password_change)],
    session: SessionDep,
) -> AccountRead:
    """Change what is given. A new password needs the old one, and ends every other sign-in."""
    user = await accounts.update_account(session, account_id, body, password, principal.sign_in_id)
    return accounts.shown(user, principal.role)


@own_router.delete(
    "/me",
    status_code=204,
    dependencies=[Depends(signed_in), AccountChanges],
    responses=documented(Forbidden, DatabaseUnavailable, RedisUnavailable),
)
async def delete_own_account(account_id: CurrentAccount, belongings: BelongingsDep, session: SessionDep) -> None:
    """Delete the account with all that belongs to it: documents, threads, memories, keys."""
    await belongings.remove(account_id)
    await users.delete_user(session, account_id)
    await belongings.remove_later(session, account_id)
