"""Users in the database: the statements behind the routes, without HTTP."""

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
        Conflict: if the e-mail is taken, in whatever case; also by a request that runs at the same time.
    """
    at = now()
    user = User(email=new.email, name=new.name, password_hash=password_hash, created_at=at, updated_at=at)
    session.add(user)
    await _flush(session)
    return user


async def get_user(session: AsyncSession, user_id: UUID) -> User:
    """Return a user.

    Raises:
        NotFound: if there is none.
    """
    user = await session.get(User, user_id)
    if user is None:
        raise NotFound(_NO_SUCH_USER)
    return user


async def list_users(session: AsyncSession, *, after: UUID | None, limit: int, prefix: str | None) -> Sequence[User]:
    """Return users in the order of their ids, which is that of their making.

    Args:
        session: For the query.
        after: Only users after this id.
        limit: At most so many.
        prefix: Only users whose e-mail or name begins so, whatever the case.
    """
    query = select(User).order_by(col(User.id)).limit(limit)
    if after is not None:
        query = query.where(col(User.id) > after)
    if prefix is not None:
        pattern = func.lower(_escaped(prefix)).concat("%")
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
        session: For the statement.
        user_id: Which one.
        changes: Fields that are not None are changed.
        password_hash: Of the new password, if there is one.
        version: The only version that may be changed; None for any.

    Raises:
        NotFound: if there is no such user.
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
        raise PreconditionFailed("The version that If-Match names is not the present one. Read the user again.")
    return user


async def delete_user(session: AsyncSession, user_id: UUID) -> None:
    """Delete a user; the database takes the messages along.

    Raises:
        NotFound: if there is none.
    """
    deleted = await session.scalar(delete(User).where(col(User.id) == user_id).returning(col(User.id)))
    if deleted is None:
        raise NotFound(_NO_SUCH_USER)


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        raise _conflict(error) from error


def _conflict(error: IntegrityError) -> Exception:
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return Conflict(_TAKEN) if name == "uq_users_email" else error


def _escaped(prefix: str) -> str:
    return prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
