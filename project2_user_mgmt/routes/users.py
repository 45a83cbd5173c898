"""Create, list, read, update and delete users."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from project2_user_mgmt import users
from project2_user_mgmt.hooks import UserHooksDep
from project2_user_mgmt.models import User
from project2_user_mgmt.passwords import hash_password
from project2_user_mgmt.schemas import UserCreate, UserPage, UserRead, UserUpdate
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import Conflict, DatabaseUnavailable, NotFound, PreconditionFailed
from shared.pagination import PageCursor, PageSize, decode_cursor, split_page
from shared.problems import error_responses

router = APIRouter(prefix="/users", tags=["users"], responses=error_responses(DatabaseUnavailable))

_ETAG = re.compile(r'"(\d{1,9})"')


async def expected_version(
    if_match: Annotated[str | None, Header(description="`ETag` of the version to change.")] = None,
) -> int | None:
    """Return the version in `If-Match`: None for any, and 0, which no user has, if it is not an ETag of this API."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    return int(match[1]) if match else 0


def _respond(user: User, response: Response) -> UserRead:
    response.headers["ETag"] = f'"{user.version}"'
    return UserRead.model_validate(user)


async def hashed_password(body: UserCreate) -> str:
    """Hash the password before the transaction starts, so that no connection is held meanwhile."""
    return await hash_password(body.password)


@router.post("", status_code=201, responses=error_responses(Conflict))
async def create_user(
    body: UserCreate,
    request: Request,
    response: Response,
    password_hash: Annotated[str, Depends(hashed_password)],
    session: SessionDep,
) -> UserRead:
    """Create a user. E-mail addresses are unique, ignoring case."""
    user = await users.create_user(session, body, password_hash)
    response.headers["Location"] = request.url_for("get_user", user_id=user.id).path
    return _respond(user, response)


@router.get("")
async def list_users(
    session: ReadSessionDep,
    limit: PageSize = 20,
    cursor: PageCursor = None,
    q: Annotated[
        str | None,
        Query(min_length=1, max_length=254, pattern=r"^[^\x00]*$", description="Prefix of the e-mail or the name."),
    ] = None,
) -> UserPage:
    """List users page by page, in the order of their creation."""
    after = decode_cursor(cursor) if cursor else None
    found = await users.list_users(session, after=after, limit=limit + 1, prefix=q)
    page, next_cursor = split_page(found, limit)
    return UserPage(items=[UserRead.model_validate(user) for user in page], next_cursor=next_cursor)


@router.get("/{user_id}", responses=error_responses(NotFound))
async def get_user(user_id: UUID, response: Response, session: ReadSessionDep) -> UserRead:
    """Return a user."""
    return _respond(await users.get_user(session, user_id), response)


async def new_password_hash(body: UserUpdate) -> str | None:
    """Hash the new password, if any, before the transaction starts."""
    return await hash_password(body.password) if body.password else None


@router.patch("/{user_id}", responses=error_responses(NotFound, Conflict, PreconditionFailed))
async def update_user(
    user_id: UUID,
    body: UserUpdate,
    response: Response,
    version: Annotated[int | None, Depends(expected_version)],
    password_hash: Annotated[str | None, Depends(new_password_hash)],
    sessions: SessionsDep,
    hooks: UserHooksDep,
) -> UserRead:
    """Change the given fields. With `If-Match`, the change fails if the user has changed since it was read."""
    async with hooks.change(user_id), transaction(sessions) as session:
        user = await users.update_user(session, user_id, body, password_hash=password_hash, version=version)
    return _respond(user, response)


@router.delete("/{user_id}", status_code=204, responses=error_responses(NotFound))
async def delete_user(user_id: UUID, sessions: SessionsDep, hooks: UserHooksDep) -> None:
    """Delete a user with all messages."""
    async with hooks.change(user_id):
        await hooks.before_deletion(user_id)
        async with transaction(sessions) as session:
            await users.delete_user(session, user_id)
