"""The streaming protocol of LangGraph's newer clients: commands to a thread, and the stream of its events."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Request, Response, WebSocket
from pydantic import BaseModel, ValidationError

from project4_agent_api.core.json_route import JSON, with_json
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.events.ids import thread_channel
from project4_agent_api.events.sse import event_stream
from project4_agent_api.runs.replay import ThreadReplay
from project4_agent_api.runs.service import RunsDep
from project4_agent_api.streams.protocol.commands import Commands, describe_error
from project4_agent_api.streams.protocol.schemas import Command, EventStreamRequest
from project4_agent_api.streams.protocol.sockets import ThreadSocket
from project4_agent_api.streams.protocol.streams import ThreadStream, encode_error
from shared.errors import DatabaseUnavailable, RedisUnavailable, UnreadableBody
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(prefix="/threads/{thread_id}", tags=["protocol"])
sockets = APIRouter()

ThreadId = Annotated[UUID, Path(description="The thread's id. It need not exist yet.")]
Body = TypeVar("Body", bound=BaseModel)
_EXAMPLE = (
    'event: lifecycle\r\ndata: {"type":"event","event_id":"…","seq":1,"method":"lifecycle","params":{"namespace":[],'
    '"timestamp":1,"data":{"event":"running","graph_name":"agent"}}}\r\nid: 1\r\n\r\n'
)


def protocol_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """Read a body whose errors have the protocol's status: 400, not 422."""

    async def read(request: Request) -> Body:
        request = with_json(request)
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != JSON:
            raise UnreadableBody("Send it as application/json.")
        try:
            return model.model_validate_json(await request.body())
        except ValidationError as error:
            raise UnreadableBody(describe_error(error)) from None

    return read


def documented_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that is not a FastAPI parameter, for OpenAPI."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/commands",
    responses=error_responses(UnreadableBody, DatabaseUnavailable),
    openapi_extra=documented_body(Command),
)
async def command_thread(
    thread_id: ThreadId,
    command: Annotated[Command, Depends(protocol_body(Command))],
    request: Request,
    owner_id: CurrentOwner,
    runs: RunsDep,
) -> Response:
    """Start a run (`run.start`), or answer a graph's question (`input.respond`).

    The response has the protocol's form; its status is 200 even if the command was refused.
    """
    commands = Commands(runs, owner_id, thread_id, request.scope.get("request_id"))
    return JsonResponse(await commands.execute(command))


async def thread_stream(
    thread_id: ThreadId,
    subscribe: Annotated[EventStreamRequest, Depends(protocol_body(EventStreamRequest))],
    owner_id: CurrentOwner,
    runs: RunsDep,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="The same as `since`; the id of another stream is ignored."),
    ] = None,
) -> AsyncIterator[ThreadStream]:
    """Subscribe to a thread before its runs are read, so that no event is missed."""
    if subscribe.since is None and last_event_id and re.fullmatch(r"\d{1,16}", last_event_id, re.ASCII):
        subscribe.since = int(last_event_id)
    replay = ThreadReplay(runs.pool, owner_id, thread_id, runs.kept_seconds)
    async with runs.subscriber.subscribe(thread_channel(thread_id)) as subscription:
        started = await replay.list_started()
        yield ThreadStream(runs, replay, subscribe, subscription, started)


@router.post(
    "/stream/events",
    response_class=Response,
    responses=error_responses(UnreadableBody, DatabaseUnavailable, RedisUnavailable)
    | {200: {"content": {"text/event-stream": {"example": _EXAMPLE}}}},
    openapi_extra=documented_body(EventStreamRequest),
)
async def stream_thread(stream: Annotated[ThreadStream, Depends(thread_stream)]) -> Response:
    """Stream all events of a thread, run after run, from the beginning or from the last one received."""
    return event_stream(stream.events(), {}, encode_error)


@sockets.websocket("/threads/{thread_id}/stream/events")
async def open_socket(socket: WebSocket, thread_id: ThreadId) -> None:
    """Send commands to a thread, and receive its events, on one connection."""
    del thread_id  # the requests on the connection have it in their paths
    await ThreadSocket(socket).serve()
