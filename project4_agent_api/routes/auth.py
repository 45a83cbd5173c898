"""Accounts: register, sign in, refresh, sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request

from project2_user_mgmt import users
from project2_user_mgmt.routes.users import hashed_password
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.models import AccountRole
from project4_agent_api.schemas.accounts import AccountCreate, AccountRead, RefreshRequest, SignInForm, TokenPair
from shared.database import SessionDep
from shared.errors import Conflict, DatabaseUnavailable, Unauthorized, documented

router = APIRouter(prefix="/auth", tags=["accounts"], responses=documented(DatabaseUnavailable))


async def get_sign_ins(request: Request) -> SignIns:
    """Return what makes, continues and ends sign-ins."""
    sign_ins: SignIns = request.app.state.sign_ins
    return sign_ins


SignInsDep = Annotated[SignIns, Depends(get_sign_ins)]


@router.post("/register", status_code=201, responses=documented(Conflict))
async def register(
    body: AccountCreate, password_hash: Annotated[str, Depends(hashed_password)], session: SessionDep
) -> AccountRead:
    """Make an account. An e-mail has one account only, whatever its case."""
    user = await users.create_user(session, body, password_hash)
    return AccountRead(role=AccountRole.USER, **user.model_dump())


@router.post("/token", responses=documented(Unauthorized))
async def sign_in(form: Annotated[SignInForm, Form()], sign_ins: SignInsDep) -> TokenPair:
    """Sign in with e-mail and password. "Authorize", above, does so for this page."""
    return await sign_ins.sign_in(form.username, form.password)


@router.post("/refresh", responses=documented(Unauthorized))
async def refresh(body: RefreshRequest, sign_ins: SignInsDep) -> TokenPair:
    """Take a refresh token for a new pair. A refresh token that is used twice ends its sign-in, on every device."""
    return await sign_ins.refresh(body.refresh_token)


@router.post("/logout", status_code=204)
async def sign_out(body: RefreshRequest, sign_ins: SignInsDep) -> None:
    """Sign out: no token of this sign-in is good any more."""
    await sign_ins.sign_out(body.refresh_token)
