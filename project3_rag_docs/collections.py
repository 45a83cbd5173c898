"""The repository of collections: named sets of an owner's documents."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.models import Collection
from shared.errors import Conflict, InvalidRequest, NotFound

Lock = Literal["change", "reference"]
MAX_COLLECTIONS = 200  # of an owner
_SAME_NAME = "You have a collection with this name."


async def add_collection(session: AsyncSession, owner_id: UUID, name: str) -> Collection:
    """Create a collection.

    Raises:
        Conflict: if the owner has one with this name.
        InvalidRequest: if the owner has too many.
    """
    count = await session.scalar(select(func.count()).where(col(Collection.owner_id) == owner_id)) or 0
    if count >= MAX_COLLECTIONS:
        raise InvalidRequest(f"A user has at most {MAX_COLLECTIONS} collections.")
    new = Collection(owner_id=owner_id, name=name)
    insertion = upsert(Collection).values(new.model_dump()).on_conflict_do_nothing().returning(Collection)
    stored: Collection | None = await session.scalar(insertion)
    if stored is None:
        raise Conflict(_SAME_NAME)
    return stored


async def get_collection(
    session: AsyncSession, owner_id: UUID, collection_id: UUID, *, lock: Lock | None = None
) -> Collection:
    """Return a collection.

    Args:
        lock: Lock of the row: to change it, or to refer to it, so that it is not deleted in the meantime.

    Raises:
        NotFound: if there is none, or it belongs to another owner.
    """
    query = select(Collection).where(col(Collection.id) == collection_id, col(Collection.owner_id) == owner_id)
    if lock is not None:
        query = query.with_for_update(read=lock == "reference", key_share=lock == "reference")
    found: Collection | None = await session.scalar(query)
    if found is None:
        raise NotFound("There is no collection with this id.")
    return found


async def list_collections(session: AsyncSession, owner_id: UUID) -> Sequence[Collection]:
    """Return the collections of an owner by name."""
    query = select(Collection).where(col(Collection.owner_id) == owner_id).order_by(func.lower(col(Collection.name)))
    return (await session.scalars(query)).all()


async def rename_collection(session: AsyncSession, owner_id: UUID, collection_id: UUID, name: str) -> Collection:
    """Rename a collection.

    Raises:
        NotFound: if there is none.
        Conflict: if the owner has another one with this name.
    """
    collection = await get_collection(session, owner_id, collection_id, lock="change")
    collection.name = name
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict(_SAME_NAME) from None
    return collection


async def delete_collection(session: AsyncSession, owner_id: UUID, collection_id: UUID) -> None:
    """Delete a collection. Its documents stay.

    Raises:
        NotFound: if there is none.
    """
    await session.delete(await get_collection(session, owner_id, collection_id, lock="change"))
