"""Ask the model, and show the caller's history."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from project1_qa_api.answering import AnswererDep
from project1_qa_api.history import HistoryDep
from project1_qa_api.schemas import (
    Answered,
    AskRequest,
    AskResponse,
    BatchRequest,
    BatchResponse,
    Done,
    Exchange,
    Failed,
    HistoryResponse,
    Reasoning,
    Token,
)
from shared.errors import MODEL_ERRORS, ServiceError
from shared.owner import CurrentOwner
from shared.problems import error_responses, problem_for
from shared.streaming import cancel_on_disconnect, error_event, primed_stream, server_event

router = APIRouter(prefix="/ask", tags=["ask"])

_ERRORS = error_responses(*MODEL_ERRORS)
EXAMPLE_STREAM = """\
event: token
data: {"text":"It waits"}

event: token
data: {"text":" for many things at once."}

event: done
data: {"id":"5c7a2a0e-6d8c-4b0a-9e39-7d1c1f2f5a63","model":"smollm2-135m-instruct",\
"usage":{"input_tokens":31,"output_tokens":7},"finish_reason":"stop","latency_ms":412.5}

"""


@router.post("", responses=_ERRORS)
async def ask(
    body: AskRequest,
    request: Request,
    answerer: AnswererDep,
    owner_id: CurrentOwner,
    history: HistoryDep,
    background: BackgroundTasks,
) -> AskResponse:
    """Ask a question and wait for the whole answer."""
    async with cancel_on_disconnect(request):
        response = await answerer.answer(body)
    background.add_task(history.add, owner_id, _exchange(body.question, response.answer, response))
    return response


@dataclass(frozen=True)
class OpenStream:
    """A question, and the started stream of its answer."""

    ask: AskRequest
    events: AsyncIterator[Reasoning | Token | Done]


async def open_stream(body: AskRequest, request: Request, answerer: AnswererDep) -> AsyncIterator[OpenStream]:
    """Start the answer, and wait for its first event."""
    async with primed_stream(answerer.stream(body), request) as events:
        yield OpenStream(body, events)


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    response_description="Events: `token` {text} …, then `done` {id, model, usage, finish_reason, latency_ms}; "
    "or `error` with a problem. If the request has `reasoning: true`, also `reasoning` {text} … before the tokens.",
    responses=_ERRORS | {200: {"content": {"text/event-stream": {"example": EXAMPLE_STREAM}}}},
)
async def ask_stream(
    stream: Annotated[OpenStream, Depends(open_stream)],
    request: Request,
    owner_id: CurrentOwner,
    history: HistoryDep,
    background: BackgroundTasks,
) -> AsyncIterator[ServerSentEvent]:
    """Ask a question and stream the answer as server-sent events while the model generates it."""
    answer = ""
    try:
        async for event in stream.events:
            match event:
                case Reasoning():
                    answer = "" if event.replaces_tokens else answer
                    if stream.ask.reasoning:
                        yield server_event("reasoning", event)
                case Token():
                    answer += event.text
                    yield server_event("token", event)
                case Done():
                    background.add_task(history.add, owner_id, _exchange(stream.ask.question, answer, event))
                    yield server_event("done", event)
    except ServiceError as error:
        yield error_event(error, request)


@router.post("/batch")
async def ask_batch(
    body: BatchRequest,
    request: Request,
    answerer: AnswererDep,
    owner_id: CurrentOwner,
    history: HistoryDep,
    background: BackgroundTasks,
) -> BatchResponse:
    """Ask several questions concurrently. A question that fails does not affect the others."""

    def record(question: str, response: AskResponse) -> None:
        background.add_task(history.add, owner_id, _exchange(question, response.answer, response))

    async with cancel_on_disconnect(request):
        results = await answerer.answer_all(
            body.questions, concurrency=request.app.state.settings.batch_concurrency, on_answer=record
        )
    request_id = request.scope["request_id"]
    return BatchResponse(items=[_item(*pair, request_id) for pair in zip(body.questions, results, strict=True)])


def _item(question: str, result: AskResponse | ServiceError, request_id: str) -> Answered | Failed:
    if isinstance(result, ServiceError):
        return Failed(question=question, error=problem_for(result, request_id))
    return Answered(question=question, answer=result.answer)


@router.get("/history")
async def ask_history(owner_id: CurrentOwner, history: HistoryDep) -> HistoryResponse:
    """Return the caller's last exchanges, newest first. An exchange is added after its response was sent."""
    return HistoryResponse(items=await history.recent(owner_id))


def _exchange(question: str, answer: str, response: AskResponse | Done) -> Exchange:
    return Exchange(
        id=response.id, question=question, answer=answer, model=response.model, created_at=datetime.now(UTC)
    )
