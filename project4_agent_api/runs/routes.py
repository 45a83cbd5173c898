"""Runs: create, wait, stream, list, stop and delete them; on a thread, or on a thread of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from langgraph_sdk.schema import CancelAction, RunSelectField, StreamMode

from project4_agent_api.core.bounded import encode_list, next_offset
from project4_agent_api.core.idempotency import current_claim
from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.events.ids import EventId, run_end_channel, run_stream, start_event
from project4_agent_api.events.sse import delayed_json, encode_event, event_stream, has_expired
from project4_agent_api.models import RunStatus
from project4_agent_api.runs import subscription
from project4_agent_api.runs.request import RunRequest
from project4_agent_api.runs.schemas import (
    RunCreate,
    RunRead,
    RunsCancel,
    StatelessRunCreate,
)
from project4_agent_api.runs.service import Runs, RunsDep
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.runs.subscription import RunSubscription
from project4_agent_api.threads.service import ThreadsDep
from shared.errors import (
    Conflict,
    DatabaseUnavailable,
    NotFound,
    QueueFull,
    RedisUnavailable,
    StorageQuotaExceeded,
    TooManyRequests,
)
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(route_class=JsonRoute, tags=["runs"], responses=error_responses(DatabaseUnavailable))

THREAD_RUNS = "/threads/{thread_id}/runs"
# With DatabaseUnavailable again: the router's own 503 would be replaced by QueueFull's.
_FULL = error_responses(TooManyRequests, DatabaseUnavailable, QueueFull, StorageQuotaExceeded)
_JOINED = error_responses(NotFound, Conflict, RedisUnavailable, DatabaseUnavailable)
_CREATED = error_responses(
    NotFound, Conflict, TooManyRequests, RedisUnavailable, DatabaseUnavailable, QueueFull, StorageQuotaExceeded
)
_EXAMPLE_STREAM = 'event: values\r\ndata: {"messages":[]}\r\nid: 1-2\r\n\r\n'
_STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"example": _EXAMPLE_STREAM}}}}

ThreadId = Annotated[UUID, Path(description="The thread's id.")]
RunId = Annotated[UUID, Path(description="The run's id.")]


async def thread_run_request(
    thread_id: ThreadId, body: RunCreate, request: Request, owner_id: CurrentOwner
) -> RunRequest:
    """Read a request for a run on a thread."""
    return RunRequest.new(body, owner_id, thread_id, request.scope.get("request_id"), current_claim(request))


async def stateless_run_request(body: StatelessRunCreate, request: Request, owner_id: CurrentOwner) -> RunRequest:
    """Read a request for a run on a thread of its own."""
    return RunRequest.new(body, owner_id, None, request.scope.get("request_id"), current_claim(request))


ThreadRunRequest = Annotated[RunRequest, Depends(thread_run_request)]
StatelessRunRequest = Annotated[RunRequest, Depends(stateless_run_request)]


async def run_key(thread_id: ThreadId, run_id: RunId, owner_id: CurrentOwner) -> RunKey:
    """Read the key of the run in the path."""
    return RunKey(owner_id, thread_id, run_id)


RunKeyDep = Annotated[RunKey, Depends(run_key)]


async def _create(request: RunRequest, runs: Runs) -> Response:
    run = await runs.create(request)
    thread = "" if request.stateless else f"/threads/{request.key.thread_id}"
    return JsonResponse(run, headers={"Content-Location": f"{thread}/runs/{request.key.run_id}"})


@router.post(THREAD_RUNS, responses=error_responses(NotFound, Conflict) | _FULL, response_model=RunRead)
async def create_run(request: ThreadRunRequest, runs: RunsDep) -> Response:
    """Create a run on a thread. The response is sent when the run is stored; a worker executes it."""
    return await _create(request, runs)


@router.post("/runs", responses=error_responses(NotFound) | _FULL, response_model=RunRead)
async def create_stateless_run(request: StatelessRunRequest, runs: RunsDep) -> Response:
    """Create a run on a thread of its own."""
    return await _create(request, runs)


@router.post("/runs/batch", responses=error_responses(NotFound) | _FULL, response_model=list[RunRead])
async def create_runs(
    bodies: Annotated[list[StatelessRunCreate], Body(min_length=1, max_length=100)],
    request: Request,
    owner_id: CurrentOwner,
    runs: RunsDep,
) -> Response:
    """Create several runs, each on a thread of its own: all of them, or none."""
    request_id = request.scope.get("request_id")
    requests = [RunRequest.new(body, owner_id, None, request_id) for body in bodies]
    return JsonResponse(await runs.create_all(requests, current_claim(request)))


RunChannel = Callable[[UUID], str]  # `run_stream` for all events, or `run_end_channel`


def new_run(read_request: Callable[..., Awaitable[RunRequest]], channel: RunChannel) -> Any:  # noqa: ANN401  `Depends`
    """Create a run that its client follows, and subscribe to it before it is stored, so that no event is missed."""

    async def create(
        request: Annotated[RunRequest, Depends(read_request)], runs: RunsDep, connection: Request
    ) -> AsyncIterator[RunSubscription]:
        async with subscription.start_run(runs, request, channel, partial(has_expired, connection)) as run:
            yield run

    return Depends(create)


@router.post(THREAD_RUNS + "/wait", responses=_CREATED)
async def wait_run(run: Annotated[RunSubscription, new_run(thread_run_request, run_end_channel)]) -> Response:
    """Create a run on a thread, and wait for its result."""
    return delayed_json(run.result(), run.headers("join"))


@router.post("/runs/wait", responses=_CREATED)
async def wait_stateless_run(
    run: Annotated[RunSubscription, new_run(stateless_run_request, run_end_channel)],
) -> Response:
    """Create a run on a thread of its own, and wait for its result."""
    return delayed_json(run.result(), run.headers("join"))


@router.post(THREAD_RUNS + "/stream", response_class=Response, responses=_CREATED | _STREAMED)
async def stream_run(run: Annotated[RunSubscription, new_run(thread_run_request, run_stream)]) -> Response:
    """Create a run on a thread, and stream its events while it is executed."""
    return _stream_new_run(run)


@router.post("/runs/stream", response_class=Response, responses=_CREATED | _STREAMED)
async def stream_stateless_run(run: Annotated[RunSubscription, new_run(stateless_run_request, run_stream)]) -> Response:
    """Create a run on a thread of its own, and stream its events while it is executed."""
    return _stream_new_run(run)


def _stream_new_run(run: RunSubscription) -> Response:
    """Stream a run's events. The first is the same for all new runs, so it does not wait for a worker."""
    start = start_event(run.key.run_id)
    return event_stream(run.events(sent=start), run.headers("stream"), start=encode_event(start))


@router.get(THREAD_RUNS, responses=error_responses(NotFound), response_model=list[RunRead])
async def list_runs(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    runs: RunsDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    status: RunStatus | None = None,
    select: Annotated[list[RunSelectField] | None, Query(description="Only these fields.")] = None,
) -> Response:
    """List a thread's runs, newest first."""
    rows = await runs.list(owner_id, thread_id, limit=limit, offset=offset, status=status)
    selected = [{name: row[name] for name in select if name in row} for row in rows] if select else rows
    return JsonResponse(await encode_list(selected), headers=next_offset(rows, offset))


@router.get(THREAD_RUNS + "/{run_id}", responses=error_responses(NotFound), response_model=RunRead)
async def get_run(key: RunKeyDep, runs: RunsDep) -> Response:
    """Return a run."""
    return JsonResponse(await runs.get(key))


@router.delete(THREAD_RUNS + "/{run_id}", status_code=204, responses=error_responses(NotFound, Conflict))
async def delete_run(key: RunKeyDep, runs: RunsDep, threads: ThreadsDep) -> None:
    """Delete a finished run, and undo its effects on its thread."""
    await runs.delete(key)
    await threads.states.refresh(key.owner_id, key.thread_id)


def existing_run(channel: RunChannel) -> Any:  # noqa: ANN401  what FastAPI's `Depends` returns
    """Subscribe to an existing run, which may have published events or ended already."""

    async def join(
        key: RunKeyDep,
        runs: RunsDep,
        connection: Request,
        cancel_on_disconnect: Annotated[bool, Query(description="Stop the run when this client disconnects.")] = False,
    ) -> AsyncIterator[RunSubscription]:
        expired = partial(has_expired, connection)
        async with subscription.join_run(runs, key, channel, expired, stop_if_abandoned=cancel_on_disconnect) as run:
            yield run

    return Depends(join)


@router.get(THREAD_RUNS + "/{run_id}/join", responses=_JOINED)
async def join_run(run: Annotated[RunSubscription, existing_run(run_end_channel)]) -> Response:
    """Wait for the result of a run."""
    return delayed_json(run.result(), run.headers("join"))


LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="Only events after this one. With `-`, or the id of another stream, from the first event.",
    ),
]
_MODES = frozenset(get_args(StreamMode))


async def requested_modes(
    stream_mode: Annotated[
        list[str] | None, Query(description="Only events of these modes, repeated or as a JSON array.")
    ] = None,
) -> frozenset[str] | None:
    """Read the requested stream modes; None for all.

    Raises:
        RequestValidationError: if one of them does not exist.
    """
    if not any(stream_mode or ()):
        return None
    modes = parse_modes(stream_mode or (), _MODES)
    return frozenset("messages" if mode == "messages-tuple" else mode for mode in modes)


def parse_modes(values: Sequence[str], known: Collection[str]) -> list[str]:
    """Parse stream modes, which clients repeat or send as a JSON array.

    Raises:
        RequestValidationError: if one of them does not exist.
    """
    modes = [mode.strip(' "') for value in values for mode in value.strip("[]").split(",")]
    if unknown := [mode for mode in modes if mode not in known]:
        message = f"{unknown[0]} is no stream mode"
        raise RequestValidationError([{"type": "enum", "loc": ("query", "stream_mode"), "msg": message}])
    return modes


@router.get(THREAD_RUNS + "/{run_id}/stream", response_class=Response, responses=_JOINED | _STREAMED)
async def join_run_stream(
    run: Annotated[RunSubscription, existing_run(run_stream)],
    modes: Annotated[frozenset[str] | None, Depends(requested_modes)],
    last_event_id: LastEventId = None,
) -> Response:
    """Stream the events of a run that may have started or ended already: all, or those after the last one received."""
    return event_stream(run.events(EventId.parse(last_event_id), modes), run.headers("stream"))


@router.post(
    THREAD_RUNS + "/{run_id}/cancel",
    status_code=202,
    responses=_JOINED | {200: {"description": "With `wait`: the run has stopped."}},
)
async def cancel_run(
    run: Annotated[RunSubscription, existing_run(run_end_channel)],
    runs: RunsDep,
    wait: Annotated[bool, Query(description="Respond when the run has stopped.")] = False,
    action: Annotated[
        CancelAction,
        Query(description="`interrupt` keeps the run's checkpoints; `rollback` deletes the run and its checkpoints."),
    ] = "interrupt",
) -> Response:
    """Stop a run."""
    await runs.stop(run.key.owner_id, run.key.thread_id, [run.key.run_id], action)
    if not wait:
        return Response(status_code=202)
    return delayed_json(run.end(), run.headers("join"))


@router.post("/runs/cancel", status_code=204, responses=error_responses(NotFound))
async def cancel_runs(
    body: RunsCancel, owner_id: CurrentOwner, runs: RunsDep, action: CancelAction = "interrupt"
) -> None:
    """Stop runs: some of a thread, or all with a status."""
    if body.status is not None:
        await runs.stop_with_status(owner_id, body.status, action)
    elif body.thread_id is not None:
        await runs.stop(owner_id, body.thread_id, body.run_ids or [], action)
