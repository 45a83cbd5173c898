"""Users in the database, without HTTP."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt.models import User, now
from project2_user_mgmt.schemas import UserCreate, UserUpdate
from shared.errors import Conflict, NotFound, PreconditionFailed

_NO_SUCH_USER = "There is no user with this id."
_TAKEN = "There is a user with this e-mail already."


async def create_user(session: AsyncSession, new: UserCreate, password_hash: str) -> User:
    """Store a new user.

    Raises:
        Conflict: if the e-mail is taken, ignoring case, even by a concurrent request.
    """
    at = now()
    user = User(email=new.email, name=new.name, password_hash=password_hash, created_at=at, updated_at=at)
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise _conflict(error) from error
    return user


async def get_user(session: AsyncSession, user_id: UUID) -> User:
    """Return a user.

    Raises:
        NotFound: if the user does not exist.
    """
    user = await session.get(User, user_id)
    if user is None:
        raise NotFound(_NO_SUCH_USER)
    return user


async def list_users(session: AsyncSession, *, after: UUID | None, limit: int, prefix: str | None) -> Sequence[User]:
    """Return users in the order of their ids, which is the order of their creation.

    Args:
        prefix: Only users with this prefix of the e-mail or the name, ignoring case.
    """
    query = select(User).order_by(col(User.id)).limit(limit)
    if after is not None:
        query = query.where(col(User.id) > after)
    if prefix is not None:
        pattern = func.lower(_escape_like(prefix)).concat("%")
        query = query.where(
            or_(
                func.lower(col(User.email)).like(pattern, escape="\\"),
                func.lower(col(User.name)).like(pattern, escape="\\"),
            )
        )
    return (await session.scalars(query)).all()


async def update_user(
    session: AsyncSession, user_id: UUID, changes: UserUpdate, *, password_hash: str | None, version: int | None
) -> User:
    """Change a user, in one statement.

    Args:
        changes: Fields to change; None leaves a field unchanged.
        password_hash: Hash of the new password, if any.
        version: Expected version; None for any.

    Raises:
        NotFound: if the user does not exist.
        PreconditionFailed: if the user has another version.
        Conflict: if the new e-mail is taken.
    """
    values = changes.model_dump(exclude={"password"}, exclude_none=True)
    if password_hash is not None:
        values["password_hash"] = password_hash
    query = update(User).where(col(User.id) == user_id)
    if version is not None:
        query = query.where(col(User.version) == version)
    query = query.values(**values, version=col(User.version) + 1, updated_at=now())
    try:
        user: User | None = await session.scalar(query.returning(User))
    except IntegrityError as error:
        raise _conflict(error) from error
    if user is None:
        await get_user(session, user_id)
        raise PreconditionFailed("The version in If-Match is not the current one. Read the user again.")
    return user


async def delete_user(session: AsyncSession, user_id: UUID) -> None:
    """Delete a user. The database deletes the messages too.

    Raises:
        NotFound: if the user does not exist.
    """
    deleted = await session.scalar(delete(User).where(col(User.id) == user_id).returning(col(User.id)))
    if deleted is None:
        raise NotFound(_NO_SUCH_USER)


def _conflict(error: IntegrityError) -> Exception:
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return Conflict(_TAKEN) if name == "uq_users_email" else error


def _escape_like(prefix: str) -> str:
    return prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
