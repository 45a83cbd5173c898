"""Routes for searching documents and asking questions about them."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from project1_qa_api.schemas import Reasoning, Token
from project3_rag_docs.answers.answering import AnswerEvent, DocumentAnswererDep
from project3_rag_docs.routes.documents import PATH
from project3_rag_docs.schemas import (
    AnswerDone,
    DocumentAnswer,
    DocumentQuestion,
    HitRead,
    SearchRequest,
    SearchResponse,
    Sources,
)
from shared.errors import MODEL_ERRORS, DatabaseUnavailable, NotReady, ServiceError
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.streaming import cancel_on_disconnect, error_event, primed_stream, server_event

router = APIRouter(prefix=PATH, tags=["answers"])

_ERRORS = error_responses(*MODEL_ERRORS, DatabaseUnavailable, NotReady)
EXAMPLE_STREAM = """\
event: sources
data: {"sources":[{"marker":1,"filename":"handbook.md","page":null,"heading":"Leave","text":"Everyone has 25 days."}]}

event: token
data: {"text":"Everyone has 25 days. [1]"}

event: done
data: {"id":"5c7a2a0e-6d8c-4b0a-9e39-7d1c1f2f5a63","citations":[{"marker":1,"filename":"handbook.md","page":null,\
"quote":"Everyone has 25 days."}],"model":"local-rules","usage":null,"latency_ms":93.1}

"""


@router.post("/search", responses=_ERRORS)
async def search_documents(
    body: SearchRequest, request: Request, owner_id: CurrentOwner, answerer: DocumentAnswererDep
) -> SearchResponse:
    """Find passages by keywords and by meaning, in either language."""
    async with cancel_on_disconnect(request):
        hits = await answerer.search(owner_id, body)
    return SearchResponse(hits=[HitRead.model_validate(hit) for hit in hits])


@router.post("/ask", responses=_ERRORS)
async def ask_documents(
    body: DocumentQuestion, request: Request, owner_id: CurrentOwner, answerer: DocumentAnswererDep
) -> DocumentAnswer:
    """Answer a question from the documents with citations, or state that they contain no answer."""
    async with cancel_on_disconnect(request):
        return await answerer.answer(owner_id, body)


async def open_answer(
    body: DocumentQuestion, request: Request, owner_id: CurrentOwner, answerer: DocumentAnswererDep
) -> AsyncIterator[AsyncIterator[AnswerEvent]]:
    """Start the answer, and wait for the sources and the first event after them."""
    async with primed_stream(answerer.stream(owner_id, body), request, count=2) as events:
        yield events


@router.post(
    "/ask/stream",
    response_class=EventSourceResponse,
    response_description="Events: `sources` {sources}, `token` {text} …, then `done` {id, citations, model, usage, "
    "latency_ms}; or `error` with a problem. If the request has `reasoning: true`, also `reasoning` {text} … before "
    "the tokens.",
    responses=_ERRORS | {200: {"content": {"text/event-stream": {"example": EXAMPLE_STREAM}}}},
)
async def ask_documents_stream(
    body: DocumentQuestion, events: Annotated[AsyncIterator[AnswerEvent], Depends(open_answer)], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """Answer a question from the documents, streamed as server-sent events."""
    try:
        async for event in events:
            if isinstance(event, Reasoning) and not body.reasoning:
                continue
            name = {Sources: "sources", Reasoning: "reasoning", Token: "token", AnswerDone: "done"}[type(event)]
            yield server_event(name, event)
    except ServiceError as error:
        yield error_event(error, request)
