"""Documents: upload, list, follow, read, delete."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, File, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from project3_rag_docs import documents
from project3_rag_docs.ingestion.job import read_parts
from project3_rag_docs.ingestion.upload import inspect
from project3_rag_docs.models import Document, Status
from project3_rag_docs.schemas import ChunkPage, ChunkRead, DocumentPage, DocumentRead
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import (
    DatabaseUnavailable,
    NotFound,
    RequestBodyTooLarge,
    ServiceError,
    StorageFull,
    UnsupportedMediaType,
    documented,
)
from shared.jobs.notifications import Notifications
from shared.jobs.queue import JobsDep
from shared.owner import CurrentOwner
from shared.pagination import Cursor, Limit, decode_cursor, page_of
from shared.streaming import error_event

PATH = "/documents"
router = APIRouter(prefix=PATH, tags=["documents"], responses=documented(DatabaseUnavailable))

EXAMPLE_EVENTS = """\
event: processing
data: {"id":"019ab3c1-7a60-7b0e-9f6a-0d9b8c7e6f55","filename":"handbook.pdf","status":"processing","progress":0.5}

event: ready
data: {"id":"019ab3c1-7a60-7b0e-9f6a-0d9b8c7e6f55","filename":"handbook.pdf","status":"ready","progress":1.0}

"""


async def only_a_file(request: Request) -> None:
    """Refuse a form with anything else in it, so that a mistake is noticed.

    Raises:
        RequestValidationError: if there is another field, or a second file.
    """
    names = [name for name, _ in (await request.form()).multi_items()]
    unknown = [name for name in names if name != "file"]
    if "file" in names and len(names) > 1:
        what = {"type": "extra_forbidden", "loc": ("body", *unknown[:1]), "msg": "only one field is taken: file"}
        raise RequestValidationError([what])


@router.post(
    "",
    status_code=202,
    dependencies=[Depends(only_a_file)],
    responses=documented(UnsupportedMediaType, RequestBodyTooLarge, DatabaseUnavailable, StorageFull)
    | {
        200: {"model": DocumentRead, "description": "This content was uploaded before; here is its document."},
        202: {"description": "Stored. A worker reads it now; `Location` says where to look."},
    },
)
async def upload_document(
    file: Annotated[UploadFile, File(description="pdf, docx, pptx, xlsx, csv, html, md or txt")],
    request: Request,
    response: Response,
    owner_id: CurrentOwner,
    sessions: SessionsDep,
    jobs: JobsDep,
) -> DocumentRead:
    """Upload a document. The answer comes when it is stored; `GET /documents/{id}/events` tells how far it is read."""
    limit = request.app.state.settings.max_upload_bytes
    if file.size is not None and file.size > limit:
        raise RequestBodyTooLarge(limit)
    upload = await run_in_threadpool(inspect, file.filename or "", file.file)
    async with transaction(sessions) as session:
        document, accepted = await documents.add_document(jobs, session, owner_id, upload)
    response.status_code = 202 if accepted else 200
    response.headers["Location"] = request.url_for("get_document", document_id=document.id).path
    return DocumentRead.model_validate(document)


@router.get("")
async def list_documents(
    owner_id: CurrentOwner, session: ReadSessionDep, limit: Limit = 20, cursor: Cursor = None
) -> DocumentPage:
    """List documents, newest first, page by page."""
    before = decode_cursor(cursor) if cursor else None
    found = await documents.list_documents(session, owner_id, before=before, limit=limit + 1)
    page, next_cursor = page_of(found, limit)
    return DocumentPage(items=[DocumentRead.model_validate(one) for one in page], next_cursor=next_cursor)


@router.get("/{document_id}", responses=documented(NotFound))
async def get_document(document_id: UUID, owner_id: CurrentOwner, session: ReadSessionDep) -> DocumentRead:
    """Show a document, and how far it is."""
    return DocumentRead.model_validate(await documents.get_document(session, owner_id, document_id))


@router.get("/{document_id}/chunks", responses=documented(NotFound))
async def list_chunks(
    document_id: UUID, owner_id: CurrentOwner, session: ReadSessionDep, limit: Limit = 20, cursor: Cursor = None
) -> ChunkPage:
    """List the pieces in which a document is searched, in its order, page by page."""
    await documents.get_document(session, owner_id, document_id)
    after = decode_cursor(cursor) if cursor else None
    found = await documents.list_chunks(session, document_id, after=after, limit=limit + 1)
    page, next_cursor = page_of(found, limit)
    return ChunkPage(items=[ChunkRead.model_validate(one) for one in page], next_cursor=next_cursor)


@router.get(
    "/{document_id}/file",
    response_class=Response,
    responses=documented(NotFound) | {200: {"content": {"application/octet-stream": {}}}},
)
async def get_file(document_id: UUID, owner_id: CurrentOwner, sessions: SessionsDep) -> StreamingResponse:
    """Download a document's file, as it was uploaded."""
    async with transaction(sessions) as session:
        document = await documents.get_document(session, owner_id, document_id)
    headers = {
        # Never shown in place: an HTML file of somebody's would be a page of this site's.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.filename, safe='')}",
        "Content-Length": str(document.size_bytes),
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(read_parts(sessions, document_id), media_type=document.media_type, headers=headers)


@router.delete("/{document_id}", status_code=204, responses=documented(NotFound))
async def delete_document(document_id: UUID, owner_id: CurrentOwner, session: SessionDep, jobs: JobsDep) -> None:
    """Delete a document, also one that is being read. Nothing of it is found any more."""
    await documents.delete_document(jobs, session, owner_id, document_id)


async def watched(
    document_id: UUID, request: Request, owner_id: CurrentOwner, sessions: SessionsDep
) -> AsyncIterator[AsyncIterator[Document]]:
    """Look once before the answer begins: a document that is not there is 404, not a stream."""
    notifications: Notifications = request.app.state.notifications

    async def look() -> Document:
        async with transaction(sessions) as session:
            return await documents.get_document(session, owner_id, document_id)

    async def states() -> AsyncGenerator[Document]:
        document = first
        while True:
            yield document
            if document.status != Status.PROCESSING:
                return
            while True:
                await news.wait()
                news.clear()
                before, document = document, await look()
                if (before.status, before.progress) != (document.status, document.progress):
                    break

    with notifications.of(str(document_id)) as news:
        first = await look()
        async with aclosing(states()) as documents_over_time:
            yield documents_over_time


@router.get(
    "/{document_id}/events",
    response_class=EventSourceResponse,
    response_description="Events: `processing` …, then `ready` or `failed`, each with the document; or `error` with a "
    "problem, also when it was deleted meanwhile.",
    responses=documented(NotFound) | {200: {"content": {"text/event-stream": {"example": EXAMPLE_EVENTS}}}},
)
async def document_events(
    states: Annotated[AsyncIterator[Document], Depends(watched)], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """Follow a document until it is ready or has failed."""
    try:
        async for document in states:
            yield ServerSentEvent(event=document.status, data=DocumentRead.model_validate(document))
    except ServiceError as error:
        yield error_event(error, request)
