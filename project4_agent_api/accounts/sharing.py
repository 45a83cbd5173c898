"""Collections of documents that their owners share with other users, for reading or also for writing.

The owner names the user by id; by e-mail address, users are invited (`collection_invitations`), because accounts must
not be enumerated. Shared documents are searched only if a request names their collection: otherwise any user could put
text into the answers of another.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from project3_rag_docs.access import DocumentAccess, SharedCollection
from project4_agent_api.core.postgres import Connection, Pool, connected, execute, fetch_all, fetch_one
from project4_agent_api.core.state import from_state
from shared.errors import DatabaseUnavailable, Forbidden, InvalidRequest, NotFound
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.schemas import RequestBody

MAX_SHARES = 100  # of a collection, and with a user

_SHARE_OF_DOCUMENT = """
    SELECT documents.owner_id, writable FROM documents JOIN collection_shares USING (collection_id)
    WHERE public_id = %s AND NOT replaces AND status <> 'deleted' AND user_id = %s
"""
_SHARE_OF_COLLECTION = "SELECT owner_id, writable FROM collection_shares WHERE collection_id = %s AND user_id = %s"
_READABLE = """
    SELECT id, owner_id FROM collections WHERE id = ANY(%(ids)s) AND owner_id = %(caller)s
    UNION ALL
    SELECT collection_id, owner_id FROM collection_shares WHERE collection_id = ANY(%(ids)s) AND user_id = %(caller)s
"""
_SHARED_WITH = """
    SELECT id, name, CASE WHEN writable THEN 'write' ELSE 'read' END AS access
    FROM collection_shares JOIN collections ON id = collection_id WHERE user_id = %s ORDER BY lower(name), id
"""
_SHARES = """
    SELECT user_id, email, CASE WHEN writable THEN 'write' ELSE 'read' END AS access, created_at
    FROM collection_shares WHERE collection_id = %s ORDER BY user_id
"""
_LOCK_COLLECTION = "SELECT FROM collections WHERE id = %s AND owner_id = %s FOR UPDATE"
_COUNT = """
    SELECT EXISTS (SELECT FROM users WHERE id = %(user)s) AS known,
        (SELECT count(*) FROM collection_shares WHERE collection_id = %(collection)s AND user_id <> %(user)s)
            + (SELECT count(*) FROM collection_invitations WHERE collection_id = %(collection)s) AS given,
        (SELECT count(*) FROM collection_shares WHERE user_id = %(user)s AND collection_id <> %(collection)s) AS taken
"""
_PUT = """
    INSERT INTO collection_shares (collection_id, user_id, owner_id, writable, created_at)
    VALUES (%(collection)s, %(user)s, %(owner)s, %(writable)s, now())
    ON CONFLICT (collection_id, user_id) DO UPDATE SET writable = excluded.writable
"""
_DELETE = """
    DELETE FROM collection_shares
    WHERE collection_id = %(collection)s AND user_id = %(user)s AND %(caller)s IN (owner_id, user_id)
"""


@dataclass(frozen=True)
class SharedAccess(DocumentAccess):
    """Resolves the owners of documents and collections by the shares."""

    pool: Pool

    async def owner_of_document(self, caller: UUID, document_id: UUID, *, write: bool) -> UUID:
        """Return the owner of a document that is shared with the caller, or the caller."""
        share = await fetch_one(self.pool, _SHARE_OF_DOCUMENT, [document_id, caller])
        return _permitted(share, caller, write=write)

    async def owner_of_collection(self, caller: UUID, collection_id: UUID, *, write: bool) -> UUID:
        """Return the owner of a collection that is shared with the caller, or the caller."""
        share = await fetch_one(self.pool, _SHARE_OF_COLLECTION, [collection_id, caller])
        return _permitted(share, caller, write=write)

    async def owners_of(self, caller: UUID, collection_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        """Return those of some collections that the caller may read, by owner."""
        found: dict[UUID, list[UUID]] = defaultdict(list)
        for row in await fetch_all(self.pool, _READABLE, {"ids": list(collection_ids), "caller": caller}):
            found[row["owner_id"]].append(row["id"])
        return found

    async def shared_with(self, caller: UUID) -> Sequence[SharedCollection]:
        """Return the collections that are shared with the caller."""
        return [SharedCollection(**row) for row in await fetch_all(self.pool, _SHARED_WITH, [caller])]


def _permitted(share: Mapping[str, Any] | None, caller: UUID, *, write: bool) -> UUID:
    if share is None:
        return caller
    if write and not share["writable"]:
        raise Forbidden("The collection is shared with you for reading only.")
    owner: UUID = share["owner_id"]
    return owner


class ShareBody(RequestBody):
    """A user's access to a collection."""

    access: Literal["read", "write"] = Field(
        description="`write` also permits to upload into the collection, and to change, replace and delete documents."
    )


class ShareRead(BaseModel):
    """A user with whom a collection is shared."""

    user_id: UUID
    email: str | None = Field(description="The address that was invited; null if the user was named by id.")
    access: Literal["read", "write"]
    created_at: datetime


class ShareList(BaseModel):
    """The users with whom a collection is shared."""

    items: list[ShareRead]


async def lock_collection(connection: Connection, owner_id: UUID, collection_id: UUID) -> None:
    """Lock a collection until the transaction ends.

    Raises:
        NotFound: if the owner has no such collection.
    """
    if await fetch_one(connection, _LOCK_COLLECTION, [collection_id, owner_id]) is None:
        raise NotFound("There is no collection with this id.")


@dataclass(frozen=True)
class Sharing:
    """The shares of collections."""

    pool: Pool

    async def list(self, owner_id: UUID, collection_id: UUID) -> list[dict[str, Any]]:
        """Return the shares of a collection.

        Raises:
            NotFound: if the owner has no such collection.
        """
        async with connected(self.pool) as connection, connection.transaction():
            await lock_collection(connection, owner_id, collection_id)
            return await fetch_all(connection, _SHARES, [collection_id])

    async def put(self, owner_id: UUID, collection_id: UUID, user_id: UUID, *, writable: bool) -> None:
        """Share a collection with a user, or change what the user may do.

        Raises:
            NotFound: if the owner has no such collection, or there is no such user.
            InvalidRequest: if the user is the owner, or there are too many shares.
        """
        values = {"collection": collection_id, "user": user_id, "owner": owner_id, "writable": writable}
        async with connected(self.pool) as connection, connection.transaction():
            await lock_collection(connection, owner_id, collection_id)
            if user_id == owner_id:
                raise InvalidRequest("The collection is your own.")
            counted = await fetch_one(connection, _COUNT, values) or {}
            if not counted["known"]:
                raise NotFound("There is no user with this id.")
            if max(counted["given"], counted["taken"]) >= MAX_SHARES:
                raise InvalidRequest(
                    f"A collection is shared with at most {MAX_SHARES} users, and each has at most {MAX_SHARES}."
                )
            await execute(connection, _PUT, values)

    async def delete(self, caller: UUID, collection_id: UUID, user_id: UUID) -> None:
        """End a share: by the collection's owner, or by the user.

        Raises:
            NotFound: if there is none.
        """
        values = {"collection": collection_id, "user": user_id, "caller": caller}
        if not await execute(self.pool, _DELETE, values):
            raise NotFound("There is no share of this collection with this user.")


SharingDep = Annotated[Sharing, Depends(from_state(Sharing))]
router = APIRouter(
    prefix="/collections/{collection_id}/shares",
    tags=["collections"],
    responses=error_responses(DatabaseUnavailable, NotFound),
)


@router.get("")
async def list_shares(collection_id: UUID, owner_id: CurrentOwner, sharing: SharingDep) -> ShareList:
    """List the users with whom the caller shares a collection."""
    return ShareList(items=[ShareRead(**row) for row in await sharing.list(owner_id, collection_id)])


@router.put("/{user_id}", status_code=204, responses=error_responses(InvalidRequest))
async def put_share(
    collection_id: UUID, user_id: UUID, body: ShareBody, owner_id: CurrentOwner, sharing: SharingDep
) -> None:
    """Share a collection with a user, who finds the id at `GET /auth/me`. Searches find it if they name it.

    Documents that others upload into it belong to the collection's owner, and count for the owner's storage.
    """
    await sharing.put(owner_id, collection_id, user_id, writable=body.access == "write")


@router.delete("/{user_id}", status_code=204)
async def delete_share(collection_id: UUID, user_id: UUID, owner_id: CurrentOwner, sharing: SharingDep) -> None:
    """End a share, as the owner of the collection or as the user."""
    await sharing.delete(owner_id, collection_id, user_id)
