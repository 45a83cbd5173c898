"""Routes for documents: show, follow and delete."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.ext.asyncio import AsyncSession

from project3_rag_docs import documents, versions
from project3_rag_docs.access import ReadableOwner, WritableOwner
from project3_rag_docs.ingestion.job import read_parts
from project3_rag_docs.models import Document, Status
from project3_rag_docs.schemas import (
    ChunkPage,
    ChunkRead,
    DocumentRead,
    DocumentUpdate,
    Neighbours,
)
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import (
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServiceError,
)
from shared.jobs.notifications import NotificationListener
from shared.jobs.queue import JobsDep
from shared.owner import CurrentOwner
from shared.pagination import PageCursor, PageSize, decode_cursor, split_page
from shared.problems import error_responses
from shared.streaming import error_event, server_event

PATH = "/documents"
Around = Annotated[int, Query(ge=0, le=20, description="Number of chunks.")]
router = APIRouter(prefix=PATH, tags=["documents"], responses=error_responses(DatabaseUnavailable))

EXAMPLE_EVENTS = """\
event: processing
data: {"id":"019ab3c1-7a60-7b0e-9f6a-0d9b8c7e6f55","filename":"handbook.pdf","status":"processing","progress":0.5}

event: ready
data: {"id":"019ab3c1-7a60-7b0e-9f6a-0d9b8c7e6f55","filename":"handbook.pdf","status":"ready","progress":1.0}

"""


async def read_documents(session: AsyncSession, found: Sequence[Document]) -> list[DocumentRead]:
    """Convert documents, with the positions of those that wait, and the states of their new versions."""
    waiting = [document.id for document in found if document.status == Status.PROCESSING]
    positions = await documents.queue_positions(session, waiting) if waiting else {}
    new_versions = await versions.new_versions(session, [document.public_id for document in found])
    return [
        DocumentRead.model_validate(document).model_copy(
            update={
                "queue_position": positions.get(document.id),
                "new_version": new_versions.get(document.public_id),
            }
        )
        for document in found
    ]


@router.get("/{document_id}", responses=error_responses(NotFound))
async def get_document(document_id: UUID, owner_id: ReadableOwner, session: ReadSessionDep) -> DocumentRead:
    """Show a document and its progress."""
    (read,) = await read_documents(session, [await documents.get_document(session, owner_id, document_id)])
    return read


@router.patch("/{document_id}", responses=error_responses(NotFound, InvalidRequest, Forbidden))
async def update_document(
    document_id: UUID, body: DocumentUpdate, caller: CurrentOwner, owner_id: WritableOwner, session: SessionDep
) -> DocumentRead:
    """Rename a document, or change its metadata and tags."""
    changes = body.model_dump(exclude_unset=True)
    if "collection_id" in changes and caller != owner_id:
        raise Forbidden("Only its owner puts a document into another collection.")
    document = await documents.update_document(session, owner_id, document_id, **changes)
    (read,) = await read_documents(session, [document])
    return read


@router.get("/{document_id}/chunks/{chunk_id}/neighbours", responses=error_responses(NotFound))
async def list_neighbours(
    document_id: UUID,
    chunk_id: UUID,
    owner_id: ReadableOwner,
    session: ReadSessionDep,
    before: Around = 1,
    after: Around = 1,
) -> Neighbours:
    """Show a chunk with those before and after it, in document order."""
    document = await documents.get_document(session, owner_id, document_id)
    found = await documents.list_neighbours(session, document.id, chunk_id, before=before, after=after)
    return Neighbours(items=[ChunkRead.model_validate(chunk) for chunk in found])


@router.get("/{document_id}/chunks", responses=error_responses(NotFound))
async def list_chunks(
    document_id: UUID, owner_id: ReadableOwner, session: ReadSessionDep, limit: PageSize = 20, cursor: PageCursor = None
) -> ChunkPage:
    """List the chunks of a document in document order, page by page."""
    document = await documents.get_document(session, owner_id, document_id)
    after = decode_cursor(cursor) if cursor else None
    found = await documents.list_chunks(session, document.id, after=after, limit=limit + 1)
    page, next_cursor = split_page(found, limit)
    return ChunkPage(items=[ChunkRead.model_validate(chunk) for chunk in page], next_cursor=next_cursor)


@router.get(
    "/{document_id}/file",
    response_class=Response,
    responses=error_responses(NotFound) | {200: {"content": {"application/octet-stream": {}}}},
)
async def get_file(document_id: UUID, owner_id: ReadableOwner, sessions: SessionsDep) -> StreamingResponse:
    """Download the uploaded file of a document."""
    async with transaction(sessions) as session:
        document = await documents.get_document(session, owner_id, document_id)
    headers = {
        # Never displayed in the browser: an uploaded HTML file would run as a page of this site.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.filename, safe='')}",
        "Content-Length": str(document.size_bytes),
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(read_parts(sessions, document.id), media_type=document.media_type, headers=headers)


@router.delete("/{document_id}", status_code=204, responses=error_responses(NotFound, Forbidden))
async def delete_document(document_id: UUID, owner_id: WritableOwner, session: SessionDep, jobs: JobsDep) -> None:
    """Delete a document, even while it is being ingested. Searches no longer find it."""
    await documents.delete_document(jobs, session, owner_id, document_id)


async def watch_document(
    document_id: UUID, request: Request, owner_id: ReadableOwner, sessions: SessionsDep
) -> AsyncIterator[AsyncIterator[Document]]:
    """Load the document before the stream starts, so that a missing one is a 404; then follow its changes."""
    notifications: NotificationListener = request.app.state.notifications

    async def load() -> Document:
        async with transaction(sessions) as session:
            return await documents.get_latest(session, owner_id, document_id)

    async def states() -> AsyncGenerator[Document]:
        document = first
        while True:
            yield document
            if document.status != Status.PROCESSING:
                return
            while True:  # a notification may announce no visible change
                await changed.wait()
                changed.clear()
                before, document = document, await load()
                if (before.id, before.status, before.progress) != (document.id, document.status, document.progress):
                    break

    with notifications.subscribe(str(document_id)) as changed:
        first = await load()
        async with aclosing(states()) as document_states:
            yield document_states


@router.get(
    "/{document_id}/events",
    response_class=EventSourceResponse,
    response_description="Events: `processing` …, then `ready` or `failed`, each with the document; or `error` with a "
    "problem, for example if the document was deleted in the meantime.",
    responses=error_responses(NotFound) | {200: {"content": {"text/event-stream": {"example": EXAMPLE_EVENTS}}}},
)
async def document_events(
    states: Annotated[AsyncIterator[Document], Depends(watch_document)], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """Follow a document, or its new version, until it is ready or has failed."""
    try:
        async for document in states:
            yield server_event(document.status, DocumentRead.model_validate(document))
    except ServiceError as error:
        yield error_event(error, request)
