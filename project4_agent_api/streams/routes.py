"""The stream of a thread: the events of its runs, one after the other, and changes of its state."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.events.ids import thread_channel
from project4_agent_api.events.sse import event_stream
from project4_agent_api.runs.replay import ThreadReplay
from project4_agent_api.runs.routes import ThreadId, parse_modes
from project4_agent_api.runs.service import RunsDep
from project4_agent_api.streams.thread_events import (
    LIFECYCLE,
    RUN_MODES,
    STATE_UPDATE,
    Position,
    ThreadEvents,
)
from project4_agent_api.threads.service import ThreadsDep
from shared.errors import DatabaseUnavailable, NotFound, RedisUnavailable
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(
    route_class=JsonRoute, prefix="/threads", tags=["threads"], responses=error_responses(DatabaseUnavailable)
)

_EXAMPLE_STREAM = (
    'event: metadata\r\ndata: {"run_id":"0197…","attempt":1}\r\nid: 1767225600000000:1-1\r\n\r\n'
    'event: metadata\r\ndata: {"status":"run_done","run_id":"0197…"}\r\nid: 1767225600000000:end\r\n\r\n'
)


async def thread_replay(thread_id: ThreadId, owner_id: CurrentOwner, runs: RunsDep) -> ThreadReplay:
    """Return the replay of the thread in the path."""
    return ThreadReplay(runs.pool, owner_id, thread_id, runs.kept_seconds)


ReplayDep = Annotated[ThreadReplay, Depends(thread_replay)]


async def start_position(
    replay: ReplayDep,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="Only events after this one. With `-`, or the id of another stream, all that are kept. Without"
            " it, a running run is replayed from its first event, and no run that ended before.",
        ),
    ] = None,
) -> Position:
    """Determine where the stream starts."""
    started_at = await replay.start()
    if last_event_id is None and started_at is not None:
        return Position(started_at, None)
    return Position.parse(last_event_id or "")


async def requested_modes(
    stream_mode: Annotated[
        list[str] | None,
        Query(
            description="`run_modes` (the default): the events of its runs; `lifecycle`: their starts and ends;"
            " `state_update`: changes of its state outside runs. Repeated, or as a JSON array."
        ),
    ] = None,
) -> frozenset[str]:
    """Read the requested kinds of events.

    Raises:
        RequestValidationError: if one of them does not exist.
    """
    return frozenset(parse_modes(stream_mode or [RUN_MODES], (RUN_MODES, LIFECYCLE, STATE_UPDATE)))


async def thread_events(
    thread_id: ThreadId,
    replay: ReplayDep,
    threads: ThreadsDep,
    runs: RunsDep,
    position: Annotated[Position, Depends(start_position)],
    modes: Annotated[frozenset[str], Depends(requested_modes)],
) -> AsyncIterator[ThreadEvents]:
    """Subscribe to a thread before its runs are read, so that no event is missed."""
    async with runs.subscriber.subscribe(thread_channel(thread_id)) as subscription:
        subscription.receive(None)
        yield ThreadEvents(runs, threads, replay, subscription, modes, position)


@router.get(
    "/{thread_id}/stream",
    response_class=Response,
    responses=error_responses(NotFound, RedisUnavailable, DatabaseUnavailable)
    | {200: {"content": {"text/event-stream": {"example": _EXAMPLE_STREAM}}}},
)
async def stream_thread(thread: Annotated[ThreadEvents, Depends(thread_events)]) -> Response:
    """Stream the events of a thread's runs, whichever client starts them, until this client disconnects.

    Each run is followed by an event `metadata` with `"status": "run_done"` and its `run_id`.
    """
    return event_stream(thread.events(), {})
