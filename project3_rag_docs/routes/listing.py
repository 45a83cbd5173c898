"""Routes that list documents, and the tags and metadata to choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from project3_rag_docs import documents, labels
from project3_rag_docs.access import get_access
from project3_rag_docs.routes.documents import PATH, read_documents
from project3_rag_docs.schemas import (
    DocumentFilterRequest,
    DocumentPage,
    MetadataList,
    MetadataRead,
    PlainText,
    TagList,
    TagRead,
)
from project3_rag_docs.search.filters import DocumentFilter
from shared.database.engine import ReadSessionDep
from shared.errors import DatabaseUnavailable
from shared.owner import CurrentOwner
from shared.pagination import PageCursor, PageSize, decode_cursor, split_page
from shared.problems import error_responses

_MAX_TAGS = 500
_MAX_NAMES = 100  # in metadata
_MAX_VALUES = 50  # of a name
_FILTER = {
    "name": "filter",
    "in": "query",
    "description": "A filter as in searches, in JSON.",
    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{DocumentFilterRequest.__name__}"}}},
}
InCollection = Annotated[UUID | None, Query(description="Only of the documents in this collection.")]
router = APIRouter(prefix=PATH, tags=["documents"], responses=error_responses(DatabaseUnavailable))


async def read_filter(
    wanted: Annotated[
        str | None, Query(alias="filter", max_length=20_000, include_in_schema=False)  # it has content, see _FILTER
    ] = None,
    tag: Annotated[PlainText | None, Query(max_length=64, description="Replaces `tags` of the filter.")] = None,
    collection_id: Annotated[UUID | None, Query(description="Replaces `collection_ids` of the filter.")] = None,
) -> DocumentFilter:
    """Return the condition of a list.

    Raises:
        RequestValidationError: if the filter has another form.
    """
    try:
        where = DocumentFilterRequest.model_validate_json(wanted or "{}").to_filter()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(
            [{**problem, "loc": ("query", "filter", *problem["loc"])} for problem in problems]
        ) from None
    if tag is not None:
        where = replace(where, tags=[tag])
    return where if collection_id is None else replace(where, collection_ids=[collection_id])


@router.get("", openapi_extra={"parameters": [_FILTER]})
async def list_documents(
    request: Request,
    owner_id: CurrentOwner,
    session: ReadSessionDep,
    where: Annotated[DocumentFilter, Depends(read_filter)],
    limit: PageSize = 20,
    cursor: PageCursor = None,
    name: Annotated[PlainText | None, Query(max_length=255, description="A part of the file name.")] = None,
) -> DocumentPage:
    """List documents, newest first, page by page: the caller's own, or those of collections."""
    owners: Mapping[UUID, Sequence[UUID]] = {owner_id: []}
    if where.collection_ids:
        owners = await get_access(request).owners_of(owner_id, where.collection_ids)
        where = replace(where, collection_ids=list(chain.from_iterable(owners.values())))
    before = decode_cursor(cursor) if cursor else None
    found = await documents.list_documents(session, *owners, before=before, limit=limit + 1, name=name, where=where)
    page, next_cursor = split_page(found, limit)
    return DocumentPage(items=await read_documents(session, page), next_cursor=next_cursor)


async def listed_owner(request: Request, caller: CurrentOwner, collection_id: InCollection = None) -> UUID:
    """Return the owner of a collection that the caller may read, or the caller."""
    if collection_id is None:
        return caller
    return await get_access(request).owner_of_collection(caller, collection_id, write=False)


ListedOwner = Annotated[UUID, Depends(listed_owner)]


@router.get("/tags")
async def list_tags(owner_id: ListedOwner, session: ReadSessionDep, collection_id: InCollection = None) -> TagList:
    """List the tags of the caller's documents by name; of more than 500, the most frequent ones."""
    found = await labels.list_tags(session, owner_id, collection_id=collection_id, limit=_MAX_TAGS)
    return TagList(items=[TagRead(tag=tag, count=count) for tag, count in found])


@router.get("/metadata")
async def list_metadata(
    owner_id: ListedOwner, session: ReadSessionDep, collection_id: InCollection = None
) -> MetadataList:
    """List what the metadata of the caller's documents contains, by name; of more than 100 names, the most frequent."""
    found = await labels.list_metadata(
        session, owner_id, collection_id=collection_id, limit=_MAX_NAMES, values=_MAX_VALUES
    )
    return MetadataList(items=[MetadataRead(name=name, count=count, values=values) for name, count, values in found])
