"""Accounts in the database: what stage 4 knows of stage 2's users.

`accounts` has a row only where something differs from the defaults: so a user whom an administrator made, or who was
there before stage 4, has an account like any other.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt import users
from project2_user_mgmt.models import User
from project2_user_mgmt.passwords import hash_password, verify_password
from project2_user_mgmt.schemas import UserUpdate
from project4_agent_api.accounts.schemas import AccountRead, AccountUpdate
from project4_agent_api.accounts.sign_ins import password_digest
from project4_agent_api.models import Account, AccountRole, SignIn
from shared.database.engine import Sessions, transaction
from shared.errors import Conflict, Forbidden, NotFound, PreconditionFailed


async def read_account(session: AsyncSession, account_id: UUID) -> AccountRead:
    """Return an account.

    Raises:
        NotFound: if there is none.
    """
    user = await users.get_user(session, account_id)
    account = await session.get(Account, account_id)
    return shown(user, account.role if account else AccountRole.USER)


def shown(user: User, role: AccountRole) -> AccountRead:
    """Return an account as its owner sees it."""
    return AccountRead(role=role, **user.model_dump())


@dataclass(frozen=True)
class PasswordChange:
    """A new password in place of an old one that was right.

    Attributes:
        new_hash: Of the new one.
        version: The user's when the old one was looked at; it may not have changed since.
    """

    new_hash: str
    version: int


async def check_password_change(sessions: Sessions, account_id: UUID, changes: AccountUpdate) -> PasswordChange | None:
    """Verify the old password and hash the new one, before there is a transaction; None if there is no new one.

    Raises:
        Forbidden: if the old password is another.
        NotFound: if the account is gone.
    """
    if changes.password is None or changes.old_password is None:
        return None
    async with transaction(sessions) as session:
        user = await users.get_user(session, account_id)
    if not await verify_password(changes.old_password, user.password_hash):
        raise Forbidden("The old password is not right.")
    return PasswordChange(await hash_password(changes.password), user.version)


async def update_account(
    session: AsyncSession,
    account_id: UUID,
    changes: AccountUpdate,
    password: PasswordChange | None,
    sign_in_id: UUID | None,
) -> User:
    """Change an account. A new password ends every sign-in but the one that is named.

    Raises:
        Conflict: if the new e-mail is taken, or somebody else changed the account while the password was verified.
    """
    fields = UserUpdate(email=changes.email, name=changes.name)
    if password is None:
        return await users.update_user(session, account_id, fields, password_hash=None, version=None)
    try:
        user = await users.update_user(
            session, account_id, fields, password_hash=password.new_hash, version=password.version
        )
    except PreconditionFailed:
        raise Conflict("The account was changed at the same time. Try again.") from None
    # The others were made with the old password, and are good for nothing by that alone.
    digest = password_digest(password.new_hash)
    await session.execute(update(SignIn).where(col(SignIn.id) == sign_in_id).values(password_digest=digest))
    return user


async def end_sign_ins(session: AsyncSession, account_id: UUID) -> None:
    """End every sign-in of an account, also one that is just beginning. Its API keys stay."""
    await _set(session, account_id, token_version=1)


async def set_role(session: AsyncSession, account_id: UUID, role: AccountRole) -> None:
    """Say what an account may do, from its next request on."""
    await _set(session, account_id, role=role)


async def set_active(session: AsyncSession, account_id: UUID, *, active: bool) -> None:
    """Let an account in again, or lock it out from its next request on: with its tokens, and with its API keys."""
    await _set(session, account_id, active=active, **({} if active else {"token_version": 1}))


async def _set(session: AsyncSession, account_id: UUID, **values: Any) -> None:
    """Change what is stored of an account; `token_version` is added to what is there."""
    defaults = {"role": AccountRole.USER, "active": True, "token_version": 0}
    new = upsert(Account).values({"user_id": account_id} | defaults | values)
    changed = dict(values)
    if "token_version" in values:
        changed["token_version"] = col(Account.token_version) + values["token_version"]
    await session.execute(new.on_conflict_do_update(index_elements=["user_id"], set_=changed))


async def find_by_email(session: AsyncSession, email: str) -> User:
    """Return the user with an e-mail, in whatever case.

    Raises:
        NotFound: if there is none.
    """
    user: User | None = await session.scalar(select(User).where(func.lower(col(User.email)) == func.lower(email)))
    if user is None:
        raise NotFound("There is no account with this e-mail.")
    return user
