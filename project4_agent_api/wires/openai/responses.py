"""`/v1/responses`: runs on threads. A response continues another one, or a conversation, by continuing its thread."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response
from uuid_utils.compat import uuid7

from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.serialization import JsonResponse, dumps
from project4_agent_api.events.sse import event_stream, whole_json
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.wires.conversations import Conversations, ConversationsDep, Run
from project4_agent_api.wires.items import Ended, Interrupt
from project4_agent_api.wires.openai.approvals import resume
from project4_agent_api.wires.openai.conversation_items import ItemPage, to_items
from project4_agent_api.wires.openai.errors import IGNORED_HEADER, error_body, model_errors, run_error
from project4_agent_api.wires.openai.ids import CONVERSATION, decode_id
from project4_agent_api.wires.openai.response_events import ResponseBuilder
from project4_agent_api.wires.openai.response_schemas import Input, ResponseRequest
from project4_agent_api.wires.openai.stored_responses import METADATA, StoredResponses, new_response, request_metadata
from project4_agent_api.wires.openai.tools import require_client_tools
from shared.errors import Conflict, NotFound, ServiceError
from shared.problems import error_responses, problem_for

router = APIRouter(route_class=JsonRoute, prefix="/v1/responses", tags=["openai"])


async def stored_responses(conversations: ConversationsDep) -> StoredResponses:
    """Return the stored responses of the user."""
    return StoredResponses(conversations)


StoredDep = Annotated[StoredResponses, Depends(stored_responses)]


@dataclass(frozen=True)
class Place:
    """The thread of a new run, and where on it the run starts.

    Attributes:
        thread_id: None for a thread that is deleted after the run.
        is_new: Whether the thread does not exist yet.
        checkpoint_id: None for the newest checkpoint.
        interrupts: The open questions of the thread.
    """

    thread_id: UUID | None
    is_new: bool = False
    checkpoint_id: str | None = None
    interrupts: Sequence[Interrupt] = ()


async def _place(body: ResponseRequest, stored: StoredResponses) -> Place:
    if not body.stored:
        return Place(None)
    if body.conversation_id:
        thread_id, checkpoint_id = decode_id(CONVERSATION, body.conversation_id), None
    elif body.previous_response_id:
        previous = await stored.find(body.previous_response_id)
        thread_id, checkpoint_id = previous.thread_id, await stored.checkpoint_to_continue(previous)
    else:
        return Place(uuid7(), is_new=True)
    interrupts = await stored.conversations.open_interrupts(thread_id)
    return Place(thread_id, checkpoint_id=checkpoint_id, interrupts=interrupts)


async def response_run(body: ResponseRequest, conversations: ConversationsDep, stored: StoredDep) -> AsyncIterator[Run]:
    """Start the run of a request."""
    body.require_supported()
    context = body.context()
    input_ = Input.from_request(body)
    place = await _place(body, stored)
    async with AsyncExitStack() as stack:
        with model_errors():
            assistant_id = await conversations.resolve_assistant(body.model)
            await require_client_tools(conversations, assistant_id, context)
            run = _run(body, input_, place, assistant_id)
            started = await stack.enter_async_context(conversations.start(run, place.thread_id))
        yield started


def _run(body: ResponseRequest, input_: Input, place: Place, assistant_id: UUID) -> Mapping[str, Any]:
    """Return the run of a request, in the form of LangGraph's API."""
    run = {
        "assistant_id": str(assistant_id),
        "metadata": (body.metadata or {}) | {METADATA: request_metadata(body)},
        "context": body.context(),
        "on_disconnect": "continue" if body.background else "cancel",
        "if_not_exists": "create" if place.is_new else "reject",
    }
    if input_.resumes:
        answers = resume(place.interrupts, input_.decisions, input_.answers)
        return run | {"command": {"resume": answers}, "strict_resume": True}
    return run | {"input": {"messages": input_.messages}, "checkpoint_id": place.checkpoint_id}


@router.post("", response_class=Response, responses=error_responses(NotFound))
async def create_response(body: ResponseRequest, run: Annotated[Run, Depends(response_run)]) -> Response:
    """Create a response: whole, as a stream, or in the background."""
    empty = new_response(run.key, request_metadata(body), body.client_tools(), stored=body.stored)
    builder = ResponseBuilder(empty)
    ignored = body.ignored()
    headers = {IGNORED_HEADER: ", ".join(ignored)} if ignored else {}
    if body.stream:
        return event_stream(_stream(builder, run), headers, encode_error)
    if body.background:
        return JsonResponse(builder.response | {"status": "queued"}, headers=headers)
    return whole_json(_whole(builder, run), headers)


@router.get("/{response_id}", response_class=Response, responses=error_responses(NotFound, Conflict))
async def get_response(
    response_id: str,
    stored: StoredDep,
    stream: Annotated[bool, Query(description="Stream the events from the first one.")] = False,
    starting_after: Annotated[int, Query(ge=0, description="With `stream`: only events after this one.")] = -1,
) -> Response:
    """Return a response as it is now, or stream it."""
    key = await stored.find(response_id)
    if not stream:
        return JsonResponse(await stored.read(key))
    builder = ResponseBuilder(stored.empty(key, await stored.conversations.runs.get(key)))
    return event_stream(_replay(builder, stored.conversations, key, starting_after), {}, encode_error)


@router.get("/{response_id}/input_items", response_class=Response, responses=error_responses(NotFound))
async def list_input_items(response_id: str, page: Annotated[ItemPage, Query()], stored: StoredDep) -> Response:
    """List the input of a response."""
    run = await stored.conversations.runs.get(await stored.find(response_id))
    given = run["kwargs"].get("input") or {}
    messages = given.get("messages") if isinstance(given, dict) else None
    return JsonResponse(page.cut(list(to_items(messages if isinstance(messages, list) else (), ""))))


@router.post("/{response_id}/cancel", response_class=Response, responses=error_responses(NotFound, Conflict))
async def cancel_response(response_id: str, stored: StoredDep) -> Response:
    """Stop a response that is not finished."""
    key = await stored.find(response_id)
    try:
        await stored.conversations.stop(key.thread_id, key.run_id)
    except NotFound:
        raise Conflict("The response is finished already.") from None
    return JsonResponse(await stored.read(key) | {"status": "cancelled"})


@router.delete("/{response_id}", response_class=Response, responses=error_responses(NotFound, Conflict))
async def delete_response(response_id: str, stored: StoredDep) -> Response:
    """Delete a finished response."""
    await stored.delete(await stored.find(response_id))
    return JsonResponse({"id": response_id, "object": "response", "deleted": True})


async def _whole(builder: ResponseBuilder, run: Run) -> AsyncGenerator[bytes]:
    async with aclosing(run.items()) as items:
        async for item in items:
            for _ in builder.add(item):
                pass
            if isinstance(item, Ended) and item.error and not item.stopped:
                raise run_error(item.error, stopped=False)
    yield dumps(builder.snapshot())


async def _stream(builder: ResponseBuilder, run: Run, after: int = -1) -> AsyncGenerator[bytes]:
    for event in builder.begin():
        if event["sequence_number"] > after:
            yield _encode(event)
    async with aclosing(run.items()) as items:
        async for item in items:
            for event in builder.add(item):
                if event["sequence_number"] > after:
                    yield _encode(event)


async def _replay(
    builder: ResponseBuilder, conversations: Conversations, key: RunKey, after: int
) -> AsyncGenerator[bytes]:
    async with conversations.join(key.thread_id, key.run_id) as run, aclosing(_stream(builder, run, after)) as events:
        async for event in events:
            yield event


def _encode(event: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), dumps(event))


def encode_error(error: ServiceError, request_id: str | None) -> bytes:
    """Return an error as the last event of a stream."""
    body = error_body(problem_for(error, request_id))["error"]
    event = {"type": "error", "sequence_number": 0, "code": body["code"], "message": body["message"], "param": None}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(event)
