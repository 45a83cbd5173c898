"""`/ag-ui/{assistant}`: run an assistant, or watch the run of a thread that any client has started."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from ag_ui.core import BaseEvent, RunAgentInput, RunErrorEvent
from ag_ui.encoder import EventEncoder
from fastapi import APIRouter, Depends, Response

from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.postgres import Row
from project4_agent_api.events.sse import event_stream
from project4_agent_api.wires.agui.events import EventWriter
from project4_agent_api.wires.agui.inputs import invalid, run_body, thread_id_of
from project4_agent_api.wires.client_tools import takes_client_tools
from project4_agent_api.wires.conversations import Conversations, ConversationsDep, Run
from project4_agent_api.wires.items import Interrupt
from shared.errors import Conflict, NotFound, QueueFull, ServiceError, StorageQuotaExceeded, TooManyRequests
from shared.problems import error_responses

router = APIRouter(route_class=JsonRoute, prefix="/ag-ui", tags=["ag-ui"])

_EXAMPLE = 'data: {"type":"RUN_STARTED","threadId":"…","runId":"…"}\n\n'
_STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"example": _EXAMPLE}}}}
_ERRORS = error_responses(NotFound, Conflict, TooManyRequests, QueueFull, StorageQuotaExceeded)


@dataclass(frozen=True)
class Thread:
    """The part of a thread that a request needs: nothing, if it does not exist yet."""

    thread_id: UUID
    values: Mapping[str, Any]
    interrupts: Sequence[Interrupt] = ()

    @classmethod
    async def read(cls, request: RunAgentInput, conversations: Conversations) -> "Thread":
        """Read the thread of a request."""
        thread_id = thread_id_of(request.thread_id, conversations.account_id)
        try:
            row = await conversations.get_thread(thread_id)
        except NotFound:
            return cls(thread_id, {})
        values = row["values"].decode_json() if row["values"] else {}
        of_tasks = row["interrupts"].decode_json().values()
        interrupts = [Interrupt(interrupt["id"], interrupt["value"]) for of_task in of_tasks for interrupt in of_task]
        return cls(thread_id, values if isinstance(values, dict) else {}, interrupts)

    @property
    def messages(self) -> Sequence[Any]:
        """The messages of the thread."""
        messages = self.values.get("messages")
        return messages if isinstance(messages, list) else ()


async def new_run(assistant: str, request: RunAgentInput, conversations: ConversationsDep) -> AsyncIterator[Run]:
    """Start the run of a request."""
    assistant_id = await conversations.resolve_assistant(assistant)
    if request.tools and not await takes_client_tools(conversations, assistant_id):
        raise invalid("tools", "this assistant calls only tools of the server; leave them out, or use `agent`")
    thread = await Thread.read(request, conversations)
    body = run_body(request, assistant_id, thread.values, thread.interrupts)
    async with conversations.start(body, thread.thread_id) as run:
        yield run


@router.post("/{assistant}", response_class=Response, responses=_ERRORS | _STREAMED)
async def run_assistant(assistant: str, request: RunAgentInput, run: Annotated[Run, Depends(new_run)]) -> Response:
    """Run an assistant, and stream the events. If the client disconnects, the run is stopped.

    With `"forwardedProps": {"onDisconnect": "continue"}` it is not.
    """
    del assistant  # it is that of the run
    writer = EventWriter(request.thread_id, request.run_id)
    address = f"/threads/{run.key.thread_id}/runs/{run.key.run_id}"
    return event_stream(_encoded(writer, run), {"Content-Location": address}, encode_error)


@router.post("/{assistant}/connect", response_class=Response, responses=error_responses(NotFound) | _STREAMED)
async def connect_to_thread(assistant: str, request: RunAgentInput, conversations: ConversationsDep) -> Response:
    """Stream the messages of a thread, then the events of its unfinished run, whichever client has started it.

    The run does not depend on this client.
    """
    del assistant  # it is that of the run
    thread_id = thread_id_of(request.thread_id, conversations.account_id)
    await conversations.get_thread(thread_id)
    writer = EventWriter(request.thread_id, request.run_id)
    return event_stream(_watched(writer, request, conversations), {}, encode_error)


async def _watched(writer: EventWriter, request: RunAgentInput, conversations: Conversations) -> AsyncGenerator[bytes]:
    thread = await Thread.read(request, conversations)
    row = await conversations.unfinished_run(thread.thread_id)
    if row is None:
        for event in (*writer.begin(thread.messages), *writer.finish(thread.interrupts)):
            yield _encode(event)
        return
    async with conversations.join(thread.thread_id, row["run_id"]) as run:
        for event in writer.begin([*thread.messages, *_input_messages(row)]):
            yield _encode(event)
        async with aclosing(_events(writer, run)) as events:
            async for event in events:
                yield _encode(event)


def _input_messages(row: Row) -> Iterator[Any]:
    """Yield the messages with which a run was started: the thread has them when it has ended."""
    given = row["kwargs"].decode_json().get("input")
    messages = given.get("messages") if isinstance(given, dict) else None
    for position, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict):
            yield {"id": f"{row['run_id']}-{position}", **message}


async def _encoded(writer: EventWriter, run: Run) -> AsyncGenerator[bytes]:
    for event in writer.begin():
        yield _encode(event)
    async with aclosing(_events(writer, run)) as events:
        async for event in events:
            yield _encode(event)


async def _events(writer: EventWriter, run: Run) -> AsyncGenerator[BaseEvent]:
    async with aclosing(run.items()) as items:
        async for item in items:
            for event in writer.write(item):
                yield event


def _encode(event: BaseEvent) -> bytes:
    return EventEncoder().encode(event).encode()


def encode_error(error: ServiceError, request_id: str | None) -> bytes:
    """Return an error as the last event of a stream."""
    del request_id  # the event has no place for it
    return _encode(RunErrorEvent(message=error.detail, code=type(error).__name__))
