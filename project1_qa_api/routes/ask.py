"""Ask the model: whole, streamed, in a batch; and what was asked before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
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
    Token,
)
from shared.errors import InputTooLongForModel, ModelTimeout, ModelUnavailable, ServiceError
from shared.owner import CurrentOwner
from shared.problems import error_responses, problem_for
from shared.streaming import cancel_on_disconnect, error_event

router = APIRouter(prefix="/ask", tags=["ask"])

MODEL_ERRORS = error_responses(InputTooLongForModel, ModelUnavailable, ModelTimeout)
EXAMPLE_STREAM = """\
event: token
data: {"text":"It waits"}

event: token
data: {"text":" for many things at once."}

event: done
data: {"id":"5c7a2a0e-6d8c-4b0a-9e39-7d1c1f2f5a63","model":"smollm2-135m-instruct",\
"usage":{"input_tokens":31,"output_tokens":7},"finish_reason":"stop","latency_ms":412.5}

"""


@router.post("", responses=MODEL_ERRORS)
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
    """A question whose answer has begun."""

    question: str
    events: AsyncIterator[Token | Done]


async def open_stream(body: AskRequest, request: Request, answerer: AnswererDep) -> AsyncIterator[OpenStream]:
    """Ask, and wait for the first event: a failure until then is still an answer with a status of its own.

    FastAPI sends a stream's 200 as soon as its handler is entered, so this has to happen in a dependency.
    """
    async with aclosing(answerer.stream(body)) as events:
        async with cancel_on_disconnect(request):
            first = await anext(events)

        async def all_events() -> AsyncIterator[Token | Done]:
            yield first
            async for event in events:
                yield event

        yield OpenStream(body.question, all_events())


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    response_description="Events: `token` {text} …, then `done` {id, model, usage, finish_reason, latency_ms}; "
    "or `error` with a problem.",
    responses=MODEL_ERRORS | {200: {"content": {"text/event-stream": {"example": EXAMPLE_STREAM}}}},
)
async def ask_stream(
    stream: Annotated[OpenStream, Depends(open_stream)],
    request: Request,
    owner_id: CurrentOwner,
    history: HistoryDep,
    background: BackgroundTasks,
) -> AsyncIterator[ServerSentEvent]:
    """Ask a question and read the answer while the model writes it, as server-sent events."""
    answer = ""
    try:
        async for event in stream.events:
            match event:
                case Token():
                    answer += event.text
                    yield ServerSentEvent(event="token", data=event)
                case Done():
                    background.add_task(history.add, owner_id, _exchange(stream.question, answer, event))
                    yield ServerSentEvent(event="done", data=event)
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
    """Ask several questions side by side. A question that fails does not fail the others."""
    slots = asyncio.Semaphore(request.app.state.settings.batch_concurrency)

    async def ask_one(question: str) -> Answered | Failed:
        try:
            async with slots:
                response = await answerer.answer(AskRequest(question=question))
        except ServiceError as error:
            return Failed(question=question, error=problem_for(error, request.scope["request_id"]))
        background.add_task(history.add, owner_id, _exchange(question, response.answer, response))
        return Answered(question=question, answer=response.answer)

    async with cancel_on_disconnect(request), asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask_one(question)) for question in body.questions]
    return BatchResponse(items=[task.result() for task in tasks])


@router.get("/history")
async def ask_history(owner_id: CurrentOwner, history: HistoryDep) -> HistoryResponse:
    """Show the last exchanges of whoever asks, newest first. Each appears just after its answer was sent."""
    return HistoryResponse(items=await history.recent(owner_id))


def _exchange(question: str, answer: str, response: AskResponse | Done) -> Exchange:
    return Exchange(
        id=response.id, question=question, answer=answer, model=response.model, created_at=datetime.now(UTC)
    )
