"""Threads: make, find, change, copy, delete; read and write their states."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.exceptions import RequestValidationError

from project4_agent_api.core.offset_pagination import cut
from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.events.events import thread_of
from project4_agent_api.events.sse import event_stream
from project4_agent_api.runs.routes import known_modes
from project4_agent_api.runs.schemas import Checkpoint, CheckpointId
from project4_agent_api.runs.service import RunsDep
from project4_agent_api.streams.thread_events import BEGINNING, LIFECYCLE, RUN_MODES, STATE_UPDATE, Place, ThreadEvents
from project4_agent_api.threads.schemas import (
    HistoryQuery,
    Pruned,
    StateAtCheckpoint,
    StateChange,
    StateChanged,
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadRead,
    ThreadSearch,
    ThreadsPrune,
    ThreadState,
    known_state_fields,
)
from project4_agent_api.threads.service import ThreadsDep
from project4_agent_api.threads.state import checkpoint_of
from shared.errors import Conflict, DatabaseUnavailable, NotFound, RedisUnavailable, documented
from shared.owner import CurrentOwner

router = APIRouter(prefix="/threads", tags=["threads"], responses=documented(DatabaseUnavailable))

ThreadId = Annotated[UUID, Path(description="The thread's id.")]
_EXAMPLE_STREAM = (
    'event: metadata\r\ndata: {"run_id":"0197…","attempt":1}\r\nid: 1767225600000000:1-1\r\n\r\n'
    'event: metadata\r\ndata: {"status":"run_done","run_id":"0197…"}\r\nid: 1767225600000000:end\r\n\r\n'
)
_TTL = ("ttl_strategy", "ttl_minutes", "expires_at")


def _shown(row: Row, *, with_ttl: bool = False) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in _TTL}
    if with_ttl and row["ttl_minutes"] is not None:
        names = {"ttl_strategy": "strategy", "ttl_minutes": "ttl_minutes", "expires_at": "expires_at"}
        shown["ttl"] = {name: row[column] for column, name in names.items()}
    return shown


@router.post("", responses=documented(Conflict, NotFound), response_model=ThreadRead)
async def create_thread(body: ThreadCreate, owner_id: CurrentOwner, threads: ThreadsDep) -> Response:
    """Make a thread."""
    return JsonResponse(_shown(await threads.create(owner_id, body)))


@router.post("/search", response_model=list[ThreadRead])
async def search_threads(
    body: ThreadSearch, response: Response, owner_id: CurrentOwner, threads: ThreadsDep
) -> Response:
    """Find threads, the newest first."""
    rows = cut(await threads.search(owner_id, body), body, response)
    return JsonResponse([_found(row, body) for row in rows], headers=dict(response.headers))


def _found(row: Row, search: ThreadSearch) -> dict[str, Any]:
    shown = _shown(row)
    if search.select:
        shown = {name: shown.get(name) for name in search.select}
    if search.extract:
        shown["extracted"] = {name: _part(row, path) for name, path in search.extract.items()}
    return shown


def _part(value: Any, path: str) -> Any:  # noqa: ANN401  any JSON
    """Return the part of a thread at a path such as `values.messages[0].content`; None if there is none."""
    for key, place in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path):
        match value:
            case Mapping() if key:
                value = value.get(key)
            case list() if place and -len(value) <= int(place) < len(value):
                value = value[int(place)]
            case _:
                return None
    return value


@router.post("/count")
async def count_threads(body: ThreadFilter, owner_id: CurrentOwner, threads: ThreadsDep) -> int:
    """Count threads."""
    return await threads.count(owner_id, body)


@router.post("/prune")
async def prune_threads(body: ThreadsPrune, owner_id: CurrentOwner, threads: ThreadsDep) -> Pruned:
    """Delete threads, or with `keep_latest` all of their checkpoints but the newest."""
    return Pruned(pruned_count=await threads.prune(owner_id, body.thread_ids, body.strategy or "delete"))


@router.get("/{thread_id}", responses=documented(NotFound), response_model=ThreadRead)
async def get_thread(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    include: Annotated[Literal["ttl"] | None, Query(description="Show how long it is kept, too.")] = None,
) -> Response:
    """Show a thread."""
    return JsonResponse(_shown(await threads.get(owner_id, thread_id), with_ttl=include == "ttl"))


@router.patch(
    "/{thread_id}",
    responses=documented(NotFound) | {204: {"description": "With `Prefer: return=minimal`: it was changed."}},
    response_model=ThreadRead,
)
async def update_thread(
    thread_id: ThreadId,
    body: ThreadPatch,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    prefer: Annotated[str | None, Header(description="`return=minimal` for an answer without a body.")] = None,
) -> Response:
    """Change a thread's metadata, or how long it is kept."""
    row = await threads.update(owner_id, thread_id, body)
    return Response(status_code=204) if prefer == "return=minimal" else JsonResponse(_shown(row))


@router.delete("/{thread_id}", status_code=204, responses=documented(NotFound))
async def delete_thread(thread_id: ThreadId, owner_id: CurrentOwner, threads: ThreadsDep) -> None:
    """Delete a thread, with its runs and states."""
    await threads.delete(owner_id, thread_id)


@router.post("/{thread_id}/copy", responses=documented(NotFound), response_model=ThreadRead)
async def copy_thread(thread_id: ThreadId, owner_id: CurrentOwner, threads: ThreadsDep) -> Response:
    """Make another thread with the same history."""
    return JsonResponse(_shown(await threads.copy(owner_id, thread_id)))


async def selected_parts(
    select: Annotated[list[str] | None, Query(description="Only these parts, such as `values.messages`.")] = None,
) -> list[str] | None:
    """Read which parts of a state are wanted; None for all.

    Raises:
        RequestValidationError: if one of them is none.
    """
    try:
        return known_state_fields(select)
    except ValueError as error:
        raise RequestValidationError([{"type": "enum", "loc": ("query", "select"), "msg": str(error)}]) from None


Parts = Annotated[list[str] | None, Depends(selected_parts)]
Subgraphs = Annotated[bool, Query(description="Show the states of subgraphs, too.")]


def _of_state(state: Mapping[str, Any], select: Sequence[str] | None) -> Mapping[str, Any]:
    if not select:
        return state
    shown = {name: state[name] for name in select if "." not in name}
    keys = [name.partition(".")[2] for name in select if "." in name]
    if keys and "values" not in shown:
        values = state["values"] if isinstance(state["values"], dict) else {}
        shown["values"] = {key: values[key] for key in keys if key in values}
    return shown


@router.get("/{thread_id}/state", responses=documented(NotFound, Conflict), response_model=ThreadState)
async def get_state(
    thread_id: ThreadId, owner_id: CurrentOwner, threads: ThreadsDep, select: Parts, subgraphs: Subgraphs = False
) -> Response:
    """Show a thread's state."""
    return JsonResponse(_of_state(await threads.state(owner_id, thread_id, subgraphs=subgraphs), select))


@router.get("/{thread_id}/state/{checkpoint_id}", responses=documented(NotFound, Conflict), response_model=ThreadState)
async def get_state_at(
    thread_id: ThreadId,
    checkpoint_id: CheckpointId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    select: Parts,
    subgraphs: Subgraphs = False,
) -> Response:
    """Show the state that a thread had at a checkpoint."""
    state = await threads.state(owner_id, thread_id, Checkpoint(checkpoint_id=checkpoint_id), subgraphs=subgraphs)
    return JsonResponse(_of_state(state, select))


@router.post("/{thread_id}/state/checkpoint", responses=documented(NotFound, Conflict), response_model=ThreadState)
async def find_state_at(
    thread_id: ThreadId, body: StateAtCheckpoint, owner_id: CurrentOwner, threads: ThreadsDep
) -> Response:
    """Show the state that a thread, or a subgraph of it, had at a checkpoint."""
    state = await threads.state(owner_id, thread_id, body.checkpoint, subgraphs=bool(body.subgraphs))
    return JsonResponse(_of_state(state, body.select))


@router.post("/{thread_id}/state", responses=documented(NotFound, Conflict), response_model=StateChanged)
async def update_state(thread_id: ThreadId, body: StateChange, owner_id: CurrentOwner, threads: ThreadsDep) -> Response:
    """Write into a thread's state, as if a node had; from an earlier checkpoint, this begins another branch."""
    changed = await threads.change_state(owner_id, thread_id, body)
    checkpoint = checkpoint_of(changed) or {}
    return JsonResponse(
        {"checkpoint": checkpoint, "configurable": checkpoint, "checkpoint_id": checkpoint["checkpoint_id"]}
    )


@router.post("/{thread_id}/history", responses=documented(NotFound, Conflict), response_model=list[ThreadState])
async def find_history(
    thread_id: ThreadId, body: HistoryQuery, owner_id: CurrentOwner, threads: ThreadsDep
) -> Response:
    """List the states that a thread has had, the newest first."""
    states = await threads.history(owner_id, thread_id, body)
    return JsonResponse([_of_state(state, body.select) for state in states])


@router.get("/{thread_id}/history", responses=documented(NotFound, Conflict), response_model=list[ThreadState])
async def get_history(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    before: Annotated[CheckpointId | None, Query(description="Only those before this checkpoint.")] = None,
) -> Response:
    """List the states that a thread has had, the newest first."""
    return JsonResponse(await threads.history(owner_id, thread_id, HistoryQuery(limit=limit, before=before)))


async def place_to_begin(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    runs: RunsDep,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=r"^(-|0|\d{1,16}:(end|\d{1,5}-\d{1,18}))$",
            description="Give what came after it; `-` for all that is kept. Without it a run that is executed is read"
            " from its beginning, and none that was over before that.",
        ),
    ] = None,
) -> Place:
    """Read where a reader of a thread begins."""
    moment = await runs.moment_to_begin(owner_id, thread_id)
    if last_event_id is None and moment is not None:
        return Place(moment, None)
    return BEGINNING if last_event_id in (None, "-", "0") else Place.parse(last_event_id)


async def wanted_modes(
    stream_mode: Annotated[
        list[str] | None,
        Query(
            description="`run_modes`, the events of its runs, if none is named; `lifecycle`, where they begin and end;"
            " `state_update`, changes of its state that are no run's. Repeated, or as a JSON array."
        ),
    ] = None,
) -> frozenset[str]:
    """Read what of a thread is wanted.

    Raises:
        RequestValidationError: if one of these is no mode.
    """
    return frozenset(known_modes(stream_mode or [RUN_MODES], (RUN_MODES, LIFECYCLE, STATE_UPDATE)))


async def watched(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    runs: RunsDep,
    place: Annotated[Place, Depends(place_to_begin)],
    modes: Annotated[frozenset[str], Depends(wanted_modes)],
) -> AsyncIterator[ThreadEvents]:
    """Listen to a thread before anything of it is read, so that nothing is missed."""
    async with runs.subscriber.listen(thread_of(thread_id)) as listener:
        listener.hear(None)
        yield ThreadEvents(runs, threads, owner_id, thread_id, listener, modes, place)


@router.get(
    "/{thread_id}/stream",
    response_class=Response,
    responses=documented(NotFound, RedisUnavailable, DatabaseUnavailable)
    | {200: {"content": {"text/event-stream": {"example": _EXAMPLE_STREAM}}}},
)
async def stream_thread(thread: Annotated[ThreadEvents, Depends(watched)]) -> Response:
    """Read what happens on a thread, whoever starts it, until you go away.

    After each run comes an event `metadata` with `"status": "run_done"` and its `run_id`.
    """
    return event_stream(thread.events(), {})
