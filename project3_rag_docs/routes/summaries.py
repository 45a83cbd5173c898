"""Routes for summaries of whole documents."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from project1_qa_api.schemas import Token
from project3_rag_docs.access import ReadableOwner
from project3_rag_docs.answers.summaries import SummarizerDep, SummaryEvent
from project3_rag_docs.routes.documents import PATH
from project3_rag_docs.routes.limits import limit_at_once
from project3_rag_docs.schemas import DocumentSummary, SummaryDone, SummaryProgress
from shared.errors import MODEL_ERRORS, Conflict, DatabaseUnavailable, NotFound, ServiceError, TooManyRequests
from shared.problems import error_responses
from shared.streaming import cancel_on_disconnect, error_event, primed_stream, server_event

_AT_ONCE = 3  # of a user: each may call the model hundreds of times
_TOO_MANY = f"{_AT_ONCE} of your summaries are being made already. Try again when one of them is ready."
router = APIRouter(
    prefix=PATH, tags=["answers"], dependencies=[Depends(limit_at_once("summaries", _AT_ONCE, _TOO_MANY))]
)

_ERRORS = error_responses(*MODEL_ERRORS, DatabaseUnavailable, NotFound, Conflict, TooManyRequests)
EXAMPLE_STREAM = """\
event: progress
data: {"done":1,"total":3}

event: token
data: {"text":"Everyone has 25 days of leave."}

event: done
data: {"version":1,"model":"local-rules","usage":null,"cached":false,"latency_ms":2093.1}

"""


@router.post("/{document_id}/summary", responses=_ERRORS)
async def summarize_document(
    document_id: UUID, request: Request, owner_id: ReadableOwner, summarizer: SummarizerDep
) -> DocumentSummary:
    """Summarize a document from all of its text. The summary of a version is stored, so the model makes it once."""
    text = ""
    async with cancel_on_disconnect(request):
        async for event in summarizer.stream(owner_id, document_id):
            match event:
                case Token():
                    text += event.text
                case SummaryDone():
                    return DocumentSummary(summary=text, **event.model_dump())
    raise AssertionError("the stream ended without `SummaryDone`")


async def open_summary(
    document_id: UUID, request: Request, owner_id: ReadableOwner, summarizer: SummarizerDep
) -> AsyncIterator[AsyncIterator[SummaryEvent]]:
    """Start the summary, and wait for its first event."""
    async with primed_stream(summarizer.stream(owner_id, document_id), request) as events:
        yield events


@router.post(
    "/{document_id}/summary/stream",
    response_class=EventSourceResponse,
    response_description="Events: `progress` {done, total} … while the parts of a long document are read, `token` "
    "{text} …, then `done` {version, model, usage, cached, latency_ms}; or `error` with a problem.",
    responses=_ERRORS | {200: {"content": {"text/event-stream": {"example": EXAMPLE_STREAM}}}},
)
async def summarize_document_stream(
    events: Annotated[AsyncIterator[SummaryEvent], Depends(open_summary)], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """Summarize a document, streamed as server-sent events."""
    try:
        async for event in events:
            name = {SummaryProgress: "progress", Token: "token", SummaryDone: "done"}[type(event)]
            yield server_event(name, event)
    except ServiceError as error:
        yield error_event(error, request)
