"""Routes for collections of documents."""

from uuid import UUID

from fastapi import APIRouter, Request

from project3_rag_docs import collections
from project3_rag_docs.access import get_access
from project3_rag_docs.schemas import CollectionBody, CollectionList, CollectionRead
from shared.database.engine import ReadSessionDep, SessionDep
from shared.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(prefix="/collections", tags=["collections"], responses=error_responses(DatabaseUnavailable))


@router.post("", status_code=201, responses=error_responses(Conflict, InvalidRequest))
async def create_collection(body: CollectionBody, owner_id: CurrentOwner, session: SessionDep) -> CollectionRead:
    """Create a collection. `PATCH /documents/{id}` and uploads put documents into it, each into at most one."""
    return CollectionRead.model_validate(await collections.add_collection(session, owner_id, body.name))


@router.get("")
async def list_collections(request: Request, owner_id: CurrentOwner, session: ReadSessionDep) -> CollectionList:
    """List the caller's collections by name, then those that others share with the caller."""
    own = await collections.list_collections(session, owner_id)
    found = [*own, *await get_access(request).shared_with(owner_id)]
    return CollectionList(items=[CollectionRead.model_validate(collection) for collection in found])


@router.get("/{collection_id}", responses=error_responses(NotFound))
async def get_collection(
    collection_id: UUID, request: Request, owner_id: CurrentOwner, session: ReadSessionDep
) -> CollectionRead:
    """Show a collection. `GET /documents?collection_id=…` lists its documents."""
    for shared in await get_access(request).shared_with(owner_id):
        if shared.id == collection_id:
            return CollectionRead.model_validate(shared)
    return CollectionRead.model_validate(await collections.get_collection(session, owner_id, collection_id))


@router.patch("/{collection_id}", responses=error_responses(NotFound, Conflict, InvalidRequest))
async def rename_collection(
    collection_id: UUID, body: CollectionBody, owner_id: CurrentOwner, session: SessionDep
) -> CollectionRead:
    """Rename a collection."""
    renamed = await collections.rename_collection(session, owner_id, collection_id, body.name)
    return CollectionRead.model_validate(renamed)


@router.delete("/{collection_id}", status_code=204, responses=error_responses(NotFound))
async def delete_collection(collection_id: UUID, owner_id: CurrentOwner, session: SessionDep) -> None:
    """Delete a collection. Its documents stay."""
    await collections.delete_collection(session, owner_id, collection_id)
