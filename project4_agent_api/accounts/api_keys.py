"""API keys: create, list and delete."""

import secrets
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project4_agent_api.accounts.schemas import ApiKeyCreate
from project4_agent_api.models import ApiKey
from shared.errors import Limit, NotFound, TooManyRequests

_PREFIX = "key_"  # makes a leaked key recognizable
_SHOWN_LENGTH = 12
_RETRY_SECONDS = 60  # keys seldom end by themselves


def is_api_key(credential: str) -> bool:
    """Return whether a credential has the form of an API key, and not of a token."""
    return credential.startswith(_PREFIX)


def key_hash(key: str) -> str:
    """Return the hash that is stored instead of a key."""
    return sha256(key.encode()).hexdigest()


async def create_api_key(session: AsyncSession, user_id: UUID, new: ApiKeyCreate, *, limit: int) -> tuple[ApiKey, str]:
    """Create a key, and return its row and the key itself, which is not stored. Expired keys give way.

    Args:
        limit: How many keys one user may have. Those that are created at the same moment do not see each other.

    Raises:
        TooManyRequests: if the user has as many already.
    """
    expired = delete(ApiKey).where(col(ApiKey.user_id) == user_id, col(ApiKey.expires_at) < func.now())
    await session.execute(expired)
    count = await session.scalar(select(func.count()).select_from(ApiKey).where(col(ApiKey.user_id) == user_id)) or 0
    if count >= limit:
        raise TooManyRequests(
            f"You have {limit:,} API keys already. Delete one first.",
            retry_after=_RETRY_SECONDS,
            limit=Limit("user_api_keys_max", limit, count),
        )
    key = _PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        user_id=user_id, name=new.name, beginning=key[:_SHOWN_LENGTH], key_hash=key_hash(key), expires_at=new.expires_at
    )
    session.add(row)
    await session.flush()
    return row, key


async def list_api_keys(session: AsyncSession, user_id: UUID, *, before: UUID | None, limit: int) -> Sequence[ApiKey]:
    """Return a user's keys with ids lower than `before`, newest first."""
    query = select(ApiKey).where(col(ApiKey.user_id) == user_id).order_by(col(ApiKey.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(ApiKey.id) < before)
    return (await session.scalars(query)).all()


async def delete_api_key(session: AsyncSession, user_id: UUID, key_id: UUID) -> None:
    """Delete a key. It is invalid from the commit on.

    Raises:
        NotFound: if it does not exist, or belongs to another user.
    """
    query = delete(ApiKey).where(col(ApiKey.id) == key_id, col(ApiKey.user_id) == user_id)
    if await session.scalar(query.returning(col(ApiKey.id))) is None:
        raise NotFound("There is no API key with this id.")
