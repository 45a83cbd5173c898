"""Access to the documents of other owners: none here. Stage 4 replaces `DocumentAccess` by one that knows of shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Request

from shared.owner import CurrentOwner

Permission = Literal["owner", "read", "write"]


@dataclass(frozen=True)
class SharedCollection:
    """A collection that another owner shares with the caller."""

    id: UUID
    name: str
    access: Permission


class DocumentAccess:
    """Resolves the owner whose documents a caller may use: the caller."""

    async def owner_of_document(self, caller: UUID, document_id: UUID, *, write: bool) -> UUID:
        """Return the owner of a document that is shared with the caller, or the caller.

        Raises:
            Forbidden: if it is shared for reading only, and is to be changed.
        """
        del document_id, write
        return caller

    async def owner_of_collection(self, caller: UUID, collection_id: UUID, *, write: bool) -> UUID:
        """Return the owner of a collection, likewise."""
        del collection_id, write
        return caller

    async def owners_of(self, caller: UUID, collection_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        """Return those of some collections that the caller may read, by owner."""
        return {caller: collection_ids}

    async def shared_with(self, caller: UUID) -> Sequence[SharedCollection]:
        """Return the collections that are shared with the caller."""
        del caller
        return ()


def get_access(request: Request) -> DocumentAccess:
    """Return the app's access rules."""
    access: DocumentAccess = request.app.state.document_access
    return access


async def readable_owner(request: Request, caller: CurrentOwner, document_id: UUID) -> UUID:
    """Return the owner whose document the caller reads."""
    return await get_access(request).owner_of_document(caller, document_id, write=False)


async def writable_owner(request: Request, caller: CurrentOwner, document_id: UUID) -> UUID:
    """Return the owner whose document the caller changes."""
    return await get_access(request).owner_of_document(caller, document_id, write=True)


ReadableOwner = Annotated[UUID, Depends(readable_owner)]
WritableOwner = Annotated[UUID, Depends(writable_owner)]
