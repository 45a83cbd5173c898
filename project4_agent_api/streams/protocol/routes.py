"""The streaming protocol of LangGraph's newer clients: commands to a thread, and the stream of what happens on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Request, Response, WebSocket
from pydantic import BaseModel, ValidationError

from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.events.ids import thread_of
from project4_agent_api.events.sse import event_stream
from project4_agent_api.runs.service import RunsDep
from project4_agent_api.streams.protocol.commands import Commands, said_of
from project4_agent_api.streams.protocol.schemas import Command, EventStreamRequest
from project4_agent_api.streams.protocol.streams import ThreadStream
from shared.errors import (
    DatabaseUnavailable,
    NotSupported,
    RedisUnavailable,
    UnreadableBody,
    error_responses,
    problem_response,
)
from shared.owner import CurrentOwner

router = APIRouter(prefix="/threads/{thread_id}", tags=["protocol"])
sockets = APIRouter()

ThreadId = Annotated[UUID, Path(description="The thread's id. It need not be there yet.")]
Body = TypeVar("Body", bound=BaseModel)
_EXAMPLE = (
    'event: lifecycle\r\ndata: {"type":"event","event_id":"…","seq":1,"method":"lifecycle","params":{"namespace":[],'
    '"timestamp":1,"data":{"event":"running","graph_name":"agent"}}}\r\nid: 1\r\n\r\n'
)


def body_of(kind: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """Read a body whose form the protocol answers for: what is wrong with it is a 400, not a 422."""

    async def read(request: Request) -> Body:
        # Of what a page of another origin sends, a browser asks leave for JSON only.
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise UnreadableBody("Send it as application/json.")
        try:
            return kind.model_validate_json(await request.body())
        except ValidationError as error:
            raise UnreadableBody(said_of(error)) from None

    return read


def documented_body(kind: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that FastAPI does not read."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/commands",
    responses=error_responses(UnreadableBody, DatabaseUnavailable),
    openapi_extra=documented_body(Command),
)
async def command_thread(
    thread_id: ThreadId,
    command: Annotated[Command, Depends(body_of(Command))],
    request: Request,
    owner_id: CurrentOwner,
    runs: RunsDep,
) -> Response:
    """Start a run (`run.start`), or answer what a graph asks (`input.respond`).

    The answer has the form of the protocol, and the status 200 where the command was refused too.
    """
    commands = Commands(runs, owner_id, thread_id, request.scope.get("request_id"))
    return JsonResponse(await commands.obey(command))


async def opened(
    thread_id: ThreadId,
    wanted: Annotated[EventStreamRequest, Depends(body_of(EventStreamRequest))],
    owner_id: CurrentOwner,
    runs: RunsDep,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", pattern=r"^\d{1,16}$", description="The same as `since`.")
    ] = None,
) -> AsyncIterator[ThreadStream]:
    """Listen to a thread before anything of it is read, so that nothing is missed."""
    if wanted.since is None and last_event_id:
        wanted.since = int(last_event_id)
    async with runs.subscriber.listen(thread_of(thread_id)) as listener:
        begun = await runs.begun(owner_id, thread_id)
        yield ThreadStream(runs, owner_id, thread_id, wanted, listener, begun)


@router.post(
    "/stream/events",
    response_class=Response,
    responses=error_responses(UnreadableBody, DatabaseUnavailable, RedisUnavailable)
    | {200: {"content": {"text/event-stream": {"example": _EXAMPLE}}}},
    openapi_extra=documented_body(EventStreamRequest),
)
async def stream_thread(stream: Annotated[ThreadStream, Depends(opened)]) -> Response:
    """Read all that happens on a thread, from its beginning or from where it was left, run after run."""
    return event_stream(stream.events(), {})


@sockets.websocket("/threads/{thread_id}/stream/events")
async def refuse_socket(socket: WebSocket) -> None:
    """Say that there are no web sockets here, to whoever asks."""
    refused = NotSupported("There are no web sockets here. Use the transport `sse`: POST to the same path.")
    await socket.send_denial_response(problem_response(refused, None))
