"""The route for pictures of pages."""

import asyncio
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter

from project3_rag_docs import documents
from project3_rag_docs.access import ReadableOwner
from project3_rag_docs.ingestion.job import write_file
from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.drawing import draw_page
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.models import Chunk
from project3_rag_docs.routes.documents import PATH
from project3_rag_docs.routes.limits import limit_at_once
from project3_rag_docs.settings import Settings
from shared.database.engine import SessionsDep, transaction
from shared.errors import DatabaseUnavailable, InvalidRequest, NotFound, TooManyRequests
from shared.problems import error_responses
from shared.streaming import cancel_on_disconnect

_AT_ONCE = 4
_TOO_MANY = f"{_AT_ONCE} pages are being drawn for you already. Try again when one of them is ready."
_MAX_SECONDS = 20.0
router = APIRouter(prefix=PATH, tags=["documents"], responses=error_responses(DatabaseUnavailable))
Position = Annotated[int | None, Query(ge=0, le=1_000_000)]


@router.get(
    "/{document_id}/pages/{number}.png",
    response_class=Response,
    dependencies=[Depends(limit_at_once("drawings", _AT_ONCE, _TOO_MANY))],
    responses=error_responses(NotFound, InvalidRequest, TooManyRequests)
    | {200: {"content": {"image/png": {}}}, 304: {"description": "The picture that `If-None-Match` names is current."}},
)
async def get_page_picture(
    document_id: UUID,
    number: Annotated[int, PathParameter(ge=1, le=100_000, description="From 1.")],
    request: Request,
    owner_id: ReadableOwner,
    sessions: SessionsDep,
    chunk_id: Annotated[UUID | None, Query(description="The passage to mark.")] = None,
    start: Annotated[Position, Query(description="The start of the marked part of its text.")] = None,
    end: Annotated[Position, Query(description="Its end. Both count code points, as slices in Python.")] = None,
    width: Annotated[int, Query(ge=100, le=2400, description="In pixels; less for very high pages.")] = 1240,
) -> Response:
    """Draw a page of a PDF, with a passage marked. Other formats have no pages that look the same everywhere."""
    async with transaction(sessions) as session:
        document = await documents.get_document(session, owner_id, document_id)
        chunk = await documents.get_chunk(session, document.id, chunk_id) if chunk_id else None
    if document.media_type != MediaType.PDF:
        raise NotFound("Only the pages of PDFs are drawn.")
    passage = _passage(chunk, number, slice(start, end))
    tag = sha256(repr((document.id, number, passage, width)).encode()).hexdigest()[:32]
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{tag}"', "Vary": "Authorization, Cookie"}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    settings: Settings = request.app.state.settings
    limits = settings.parse_limits()
    limits = replace(limits, seconds=min(limits.seconds, _MAX_SECONDS))
    drawing: asyncio.Semaphore = request.app.state.drawing
    async with cancel_on_disconnect(request), drawing:
        with tempfile.TemporaryDirectory(prefix="drawing-") as folder:
            file = Path(folder, "file")
            await write_file(sessions, document.id, file)
            picture = await _draw(file, number, passage, width, limits)
    headers["X-Content-Type-Options"] = "nosniff"
    return Response(picture, media_type="image/png", headers=headers)


def _passage(chunk: Chunk | None, number: int, part: slice) -> str:
    return chunk.text[part] if chunk and chunk.page == number and not chunk.recognised else ""


async def _draw(file: Path, number: int, passage: str, width: int, limits: ParseLimits) -> bytes:
    into = file.with_name("page.png")
    try:
        drawing = await draw_page(file, number, passage, width, limits, into)
    except UnreadableDocument as error:
        raise InvalidRequest(error.reason) from None
    if not drawing.drawn:
        raise NotFound(f"The document has {drawing.pages:,} pages.")
    return await asyncio.to_thread(into.read_bytes)
