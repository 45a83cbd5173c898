"""Runs: make them, wait for them, follow them, stop them; on a thread, or on one of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from project4_agent_api.core.idempotency import claim_of
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.events.ids import START, EventId
from project4_agent_api.events.sse import event_stream, waited_for
from project4_agent_api.events.subscriber import Listener
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.schemas import (
    CancelAction,
    RunCreate,
    RunField,
    RunRead,
    RunsCancel,
    StatelessRunCreate,
    StreamMode,
)
from project4_agent_api.runs.service import Asked, Runs, RunsDep, ask_for
from project4_agent_api.runs.subscription import Followed
from project4_agent_api.threads.service import ThreadsDep
from shared.errors import (
    Conflict,
    DatabaseUnavailable,
    NotFound,
    QueueFull,
    RedisUnavailable,
    TooManyRequests,
    error_responses,
)
from shared.owner import CurrentOwner

router = APIRouter(tags=["runs"], responses=error_responses(DatabaseUnavailable))

THREAD_RUNS = "/threads/{thread_id}/runs"
FULL = error_responses(TooManyRequests, DatabaseUnavailable, QueueFull)  # the router's own 503 would be lost
WAITED = error_responses(NotFound, Conflict, RedisUnavailable, DatabaseUnavailable)
MADE = error_responses(NotFound, Conflict, TooManyRequests, RedisUnavailable, DatabaseUnavailable, QueueFull)
EXAMPLE_STREAM = 'event: values\r\ndata: {"messages":[]}\r\nid: 1-2\r\n\r\n'
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"example": EXAMPLE_STREAM}}}}
FOLLOWED = WAITED | STREAMED

ThreadId = Annotated[UUID, Path(description="The thread's id.")]
RunId = Annotated[UUID, Path(description="The run's id.")]


async def on_thread(thread_id: ThreadId, body: RunCreate, request: Request, owner_id: CurrentOwner) -> Asked:
    """Take a run that is asked for on a thread."""
    return ask_for(body, owner_id, thread_id, request.scope.get("request_id"), claim_of(request))


async def stateless(body: StatelessRunCreate, request: Request, owner_id: CurrentOwner) -> Asked:
    """Take a run that is asked for on a thread of its own."""
    return ask_for(body, owner_id, None, request.scope.get("request_id"), claim_of(request))


OnThread = Annotated[Asked, Depends(on_thread)]
Stateless = Annotated[Asked, Depends(stateless)]


async def _created(asked: Asked, runs: Runs) -> Response:
    run = await runs.create(asked)
    thread = "" if asked.stateless else f"/threads/{asked.thread_id}"
    return JsonResponse(run, headers={"Content-Location": f"{thread}/runs/{asked.run_id}"})


@router.post(THREAD_RUNS, responses=error_responses(NotFound, Conflict) | FULL, response_model=RunRead)
async def create_run(asked: OnThread, runs: RunsDep) -> Response:
    """Make a run on a thread. A worker executes it; the answer comes when it is stored."""
    return await _created(asked, runs)


@router.post("/runs", responses=error_responses(NotFound) | FULL, response_model=RunRead)
async def create_stateless_run(asked: Stateless, runs: RunsDep) -> Response:
    """Make a run on a thread of its own."""
    return await _created(asked, runs)


@router.post("/runs/batch", responses=error_responses(NotFound) | FULL, response_model=list[RunRead])
async def create_runs(
    bodies: Annotated[list[StatelessRunCreate], Body(min_length=1, max_length=100)],
    request: Request,
    owner_id: CurrentOwner,
    runs: RunsDep,
) -> Response:
    """Make some runs, each on a thread of its own: all of them, or none."""
    request_id = request.scope.get("request_id")
    wanted = [ask_for(body, owner_id, None, request_id) for body in bodies]
    return JsonResponse(await runs.create_all(wanted, claim_of(request)))


Hear = Callable[..., AbstractAsyncContextManager[Listener]]


def made(ask: Callable[..., Awaitable[Asked]], hear: Hear) -> Any:  # noqa: ANN401  what FastAPI's `Depends` is
    """Make a run that somebody listens to from before it is there, so that nothing of it is missed."""

    async def make(asked: Annotated[Asked, Depends(ask)], runs: RunsDep) -> AsyncIterator[Followed]:
        async with hear(runs, asked.run_id, soon=True) as listener:
            await runs.create(asked, listener)
            stop_if_left = asked.body.on_disconnect == "cancel"
            followed = (runs, asked.owner_id, asked.thread_id, asked.run_id, listener, stop_if_left)
            yield Followed(*followed, own_thread=asked.stateless)

    return Depends(make)


@router.post(THREAD_RUNS + "/wait", responses=MADE)
async def wait_run(run: Annotated[Followed, made(on_thread, Runs.hearing_end)]) -> Response:
    """Make a run on a thread, and wait for what it gives."""
    return waited_for(run.result(), run.headers("join"))


@router.post("/runs/wait", responses=MADE)
async def wait_stateless_run(run: Annotated[Followed, made(stateless, Runs.hearing_end)]) -> Response:
    """Make a run on a thread of its own, and wait for what it gives."""
    return waited_for(run.result(), run.headers("join"))


@router.post(THREAD_RUNS + "/stream", response_class=Response, responses=MADE | STREAMED)
async def stream_run(run: Annotated[Followed, made(on_thread, Runs.hearing_events)]) -> Response:
    """Make a run on a thread, and read its events while it is executed."""
    return event_stream(run.events(), run.headers("stream"))


@router.post("/runs/stream", response_class=Response, responses=MADE | STREAMED)
async def stream_stateless_run(run: Annotated[Followed, made(stateless, Runs.hearing_events)]) -> Response:
    """Make a run on a thread of its own, and read its events while it is executed."""
    return event_stream(run.events(), run.headers("stream"))


@router.get(THREAD_RUNS, responses=error_responses(NotFound), response_model=list[RunRead])
async def list_runs(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    runs: RunsDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    status: RunStatus | None = None,
    select: Annotated[list[RunField] | None, Query(description="Only these fields.")] = None,
) -> Response:
    """List a thread's runs, newest first."""
    rows = await runs.list(owner_id, thread_id, limit=limit, offset=offset, status=status)
    return JsonResponse([{name: row[name] for name in select} for row in rows] if select else rows)


@router.get(THREAD_RUNS + "/{run_id}", responses=error_responses(NotFound), response_model=RunRead)
async def get_run(thread_id: ThreadId, run_id: RunId, owner_id: CurrentOwner, runs: RunsDep) -> Response:
    """Show a run."""
    return JsonResponse(await runs.get(owner_id, thread_id, run_id))


@router.delete(THREAD_RUNS + "/{run_id}", status_code=204, responses=error_responses(NotFound, Conflict))
async def delete_run(
    thread_id: ThreadId, run_id: RunId, owner_id: CurrentOwner, runs: RunsDep, threads: ThreadsDep
) -> None:
    """Delete a run that is over, and what it has done to its thread."""
    await runs.delete(owner_id, thread_id, run_id)
    await threads.refresh(owner_id, thread_id)


def joined(hear: Hear) -> Any:  # noqa: ANN401  what FastAPI's `Depends` is
    """Listen to a run that is there. It may be over already, or have said something."""

    async def join(
        thread_id: ThreadId,
        run_id: RunId,
        owner_id: CurrentOwner,
        runs: RunsDep,
        cancel_on_disconnect: Annotated[bool, Query(description="Stop the run when this client goes away.")] = False,
    ) -> AsyncIterator[Followed]:
        async with hear(runs, run_id) as listener:
            await runs.get(owner_id, thread_id, run_id)
            listener.hear(None)
            yield Followed(runs, owner_id, thread_id, run_id, listener, cancel_on_disconnect)

    return Depends(join)


@router.get(THREAD_RUNS + "/{run_id}/join", responses=WAITED)
async def join_run(run: Annotated[Followed, joined(Runs.hearing_end)]) -> Response:
    """Wait for what a run gives."""
    return waited_for(run.result(), run.headers("join"))


LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", pattern=r"^(-|0|\d{1,5}-\d{1,18})$", description="Give only what came after it."),
]
_MODES = frozenset(get_args(StreamMode))


async def wanted_modes(
    stream_mode: Annotated[
        list[str] | None, Query(description="Only events of these modes, repeated or as a JSON array.")
    ] = None,
) -> frozenset[str] | None:
    """Read which modes are wanted; None for all.

    Raises:
        RequestValidationError: if one of them is none.
    """
    if not any(stream_mode or ()):
        return None
    given = known_modes(stream_mode or (), _MODES)
    return frozenset("messages" if mode == "messages-tuple" else mode for mode in given)


def known_modes(given: Sequence[str], known: Collection[str]) -> list[str]:
    """Read stream modes that are repeated, or a JSON array.

    Raises:
        RequestValidationError: if one of them is none.
    """
    modes = [mode.strip(' "') for one in given for mode in one.strip("[]").split(",")]
    if unknown := [mode for mode in modes if mode not in known]:
        message = f"{unknown[0]} is no stream mode"
        raise RequestValidationError([{"type": "enum", "loc": ("query", "stream_mode"), "msg": message}])
    return modes


@router.get(THREAD_RUNS + "/{run_id}/stream", response_class=Response, responses=FOLLOWED)
async def join_run_stream(
    run: Annotated[Followed, joined(Runs.hearing_events)],
    modes: Annotated[frozenset[str] | None, Depends(wanted_modes)],
    last_event_id: LastEventId = None,
) -> Response:
    """Read a run's events, also of one that has begun or is over: all of them, or those after the last one read."""
    after = EventId.parse(last_event_id) if last_event_id and last_event_id not in ("-", "0") else START
    return event_stream(run.events(after, modes), run.headers("stream"))


@router.post(
    THREAD_RUNS + "/{run_id}/cancel",
    status_code=202,
    responses=WAITED | {200: {"description": "With `wait`: the run has stopped."}},
)
async def cancel_run(
    run: Annotated[Followed, joined(Runs.hearing_end)],
    runs: RunsDep,
    wait: Annotated[bool, Query(description="Answer when the run has stopped.")] = False,
    action: Annotated[
        CancelAction, Query(description="`interrupt` keeps what was done; `rollback` takes the run and all of it back.")
    ] = "interrupt",
) -> Response:
    """Stop a run."""
    await runs.stop(run.owner_id, run.thread_id, [run.run_id], action)
    if not wait:
        return Response(status_code=202)
    return waited_for(run.nothing(), run.headers("join"))


@router.post("/runs/cancel", status_code=204, responses=error_responses(NotFound))
async def cancel_runs(
    body: RunsCancel, owner_id: CurrentOwner, runs: RunsDep, action: CancelAction = "interrupt"
) -> None:
    """Stop runs: some of a thread, or all with a status."""
    if body.status is not None:
        await runs.stop_with_status(owner_id, body.status, action)
    elif body.thread_id is not None:
        await runs.stop(owner_id, body.thread_id, body.run_ids or [], action)
