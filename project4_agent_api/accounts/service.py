"""Accounts: stage 2's users with a role, and whether they may sign in.

The table `accounts` has a row only for users who differ from the defaults. A user who was created by an administrator,
or before stage 4, therefore has an account like any other.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt import users
from project2_user_mgmt.models import User
from project2_user_mgmt.schemas import UserUpdate, normalize_email
from project4_agent_api.accounts.schemas import AccountRead, AccountUpdate
from project4_agent_api.accounts.sign_ins import password_digest
from project4_agent_api.models import Account, AccountRole, SignIn
from shared.errors import Conflict, NotFound, PreconditionFailed


async def read_account(session: AsyncSession, account_id: UUID) -> AccountRead:
    """Return an account.

    Raises:
        NotFound: if it does not exist.
    """
    user = await users.get_user(session, account_id)
    account = await session.get(Account, account_id)
    return account_read(user, account.role if account else AccountRole.USER)


def account_read(user: User, role: AccountRole) -> AccountRead:
    """Return an account as shown to its owner."""
    return AccountRead(role=role, **user.model_dump())


@dataclass(frozen=True)
class PasswordChange:
    """A new password, when the old one has been verified.

    Attributes:
        new_hash: Hash of the new password.
        version: Version of the user whose password was verified. The change applies to this version only.
    """

    new_hash: str
    version: int


async def update_account(
    session: AsyncSession,
    account_id: UUID,
    changes: AccountUpdate,
    password: PasswordChange | None,
    sign_in_id: UUID | None,
) -> User:
    """Change an account. A new password ends all sign-ins except `sign_in_id`.

    Raises:
        Conflict: if the new e-mail is taken, or the account was changed while the password was verified.
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
    # The other sign-ins keep the digest of the old password, which makes them invalid.
    digest = password_digest(password.new_hash)
    await session.execute(update(SignIn).where(col(SignIn.id) == sign_in_id).values(password_digest=digest))
    return user


async def end_sign_ins(session: AsyncSession, account_id: UUID) -> None:
    """End every sign-in of an account, including one that is being created. API keys stay valid."""
    await _upsert(session, account_id, token_version=1)


async def set_role(session: AsyncSession, account_id: UUID, role: AccountRole) -> None:
    """Set the role of an account. It applies from the next request."""
    await _upsert(session, account_id, role=role)


async def set_active(session: AsyncSession, account_id: UUID, *, active: bool) -> None:
    """Activate an account, or deactivate it: its tokens and API keys are rejected from the next request."""
    await _upsert(session, account_id, active=active, **({} if active else {"token_version": 1}))


async def _upsert(session: AsyncSession, account_id: UUID, **values: Any) -> None:
    """Insert or update the row of an account. `token_version` is added to the stored one."""
    defaults = {"role": AccountRole.USER, "active": True, "token_version": 0}
    statement = insert(Account).values({"user_id": account_id} | defaults | values)
    changed = dict(values)
    if "token_version" in values:
        changed["token_version"] = col(Account.token_version) + values["token_version"]
    await session.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=changed))


async def get_user_by_email(session: AsyncSession, email: str) -> User:
    """Return the user with an e-mail, compared without case and in any Unicode form.

    Raises:
        NotFound: if there is none.
    """
    user: User | None = None
    with suppress(ValueError):  # it is no e-mail address
        query = select(User).where(func.lower(col(User.email)) == func.lower(normalize_email(email)))
        user = await session.scalar(query)
    if user is None:
        raise NotFound("There is no account with this e-mail.")
    return user
