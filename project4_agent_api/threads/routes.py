"""Routes of threads: create, search, change, copy and delete them; read and update their states."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.exceptions import RequestValidationError

from project4_agent_api.core.bounded import Page, encode_list, encode_object
from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.offset_pagination import trim_page
from project4_agent_api.core.postgres import Row
from project4_agent_api.core.schemas import Checkpoint, CheckpointId
from project4_agent_api.core.serialization import JsonResponse
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
    validate_state_fields,
)
from project4_agent_api.threads.service import ThreadsDep
from project4_agent_api.threads.snapshots import to_checkpoint
from shared.errors import Conflict, DatabaseUnavailable, NotFound, StorageQuotaExceeded
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(
    route_class=JsonRoute, prefix="/threads", tags=["threads"], responses=error_responses(DatabaseUnavailable)
)

ThreadId = Annotated[UUID, Path(description="The thread's id.")]
_TTL_COLUMNS = ("ttl_strategy", "ttl_minutes", "expires_at")


def _to_thread(row: Row, *, with_ttl: bool = False) -> dict[str, Any]:
    thread = {name: value for name, value in row.items() if name not in _TTL_COLUMNS}
    if with_ttl and row["ttl_minutes"] is not None:
        names = {"ttl_strategy": "strategy", "ttl_minutes": "ttl_minutes", "expires_at": "expires_at"}
        thread["ttl"] = {name: row[column] for column, name in names.items()}
    return thread


@router.post("", responses=error_responses(Conflict, NotFound, StorageQuotaExceeded), response_model=ThreadRead)
async def create_thread(body: ThreadCreate, owner_id: CurrentOwner, threads: ThreadsDep) -> Response:
    """Create a thread."""
    return JsonResponse(await encode_object(_to_thread(await threads.create(owner_id, body))))


@router.post("/search", response_model=list[ThreadRead])
async def search_threads(
    body: ThreadSearch, response: Response, owner_id: CurrentOwner, threads: ThreadsDep
) -> Response:
    """Search threads, newest first."""
    rows = trim_page(await threads.search(owner_id, body), body, response)
    return JsonResponse(await encode_list(_select(row, body) for row in rows), headers=dict(response.headers))


def _select(row: Row, search: ThreadSearch) -> dict[str, Any]:
    thread = _to_thread(row)
    if search.select:
        thread = {name: thread.get(name) for name in search.select}
    if search.extract:
        values = {name: row[name] and row[name].decode_json() for name in ("values", "metadata")}
        thread["extracted"] = {name: _extract(values, path) for name, path in search.extract.items()}
    return thread


def _extract(value: Any, path: str) -> Any:  # noqa: ANN401  any JSON
    """Return the part of a thread at a path such as `values.messages[0].content`, or None."""
    for key, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path):
        match value:
            case Mapping() if key:
                value = value.get(key)
            case list() if index and -len(value) <= int(index) < len(value):
                value = value[int(index)]
            case _:
                return None
    return value


@router.post("/count")
async def count_threads(body: ThreadFilter, owner_id: CurrentOwner, threads: ThreadsDep) -> int:
    """Count threads."""
    return await threads.count(owner_id, body)


@router.post("/prune")
async def prune_threads(body: ThreadsPrune, owner_id: CurrentOwner, threads: ThreadsDep) -> Pruned:
    """Delete threads, or with `keep_latest` all their checkpoints but the newest."""
    return Pruned(pruned_count=await threads.prune(owner_id, body.thread_ids, body.strategy or "delete"))


@router.get("/{thread_id}", responses=error_responses(NotFound), response_model=ThreadRead)
async def get_thread(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    include: Annotated[Literal["ttl"] | None, Query(description="`ttl` to include the time to live.")] = None,
) -> Response:
    """Return a thread."""
    thread = _to_thread(await threads.get(owner_id, thread_id), with_ttl=include == "ttl")
    return JsonResponse(await encode_object(thread))


@router.patch(
    "/{thread_id}",
    responses=error_responses(NotFound, StorageQuotaExceeded)
    | {204: {"description": "The thread was changed (with `Prefer: return=minimal`)."}},
    response_model=ThreadRead,
)
async def update_thread(
    thread_id: ThreadId,
    body: ThreadPatch,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    prefer: Annotated[str | None, Header(description="`return=minimal` for a response without a body.")] = None,
) -> Response:
    """Change a thread's metadata or time to live."""
    row = await threads.update(owner_id, thread_id, body)
    return Response(status_code=204) if prefer == "return=minimal" else JsonResponse(_to_thread(row))


@router.delete("/{thread_id}", status_code=204, responses=error_responses(NotFound))
async def delete_thread(thread_id: ThreadId, owner_id: CurrentOwner, threads: ThreadsDep) -> None:
    """Delete a thread with its runs and states."""
    await threads.delete(owner_id, thread_id)


@router.post(
    "/{thread_id}/copy", responses=error_responses(NotFound, Conflict, StorageQuotaExceeded), response_model=ThreadRead
)
async def copy_thread(thread_id: ThreadId, owner_id: CurrentOwner, threads: ThreadsDep) -> Response:
    """Create another thread with the same history."""
    return JsonResponse(_to_thread(await threads.copy(owner_id, thread_id)))


async def selected_parts(
    select: Annotated[
        list[str] | None, Query(description="Return only these parts, such as `values.messages`.")
    ] = None,
) -> list[str] | None:
    """Return the selected parts of a state; None for all.

    Raises:
        RequestValidationError: if one of them does not exist.
    """
    try:
        return validate_state_fields(select)
    except ValueError as error:
        raise RequestValidationError([{"type": "enum", "loc": ("query", "select"), "msg": str(error)}]) from None


SelectedParts = Annotated[list[str] | None, Depends(selected_parts)]
Subgraphs = Annotated[bool, Query(description="Include the states of subgraphs.")]


def _select_parts(state: Mapping[str, Any], select: Sequence[str] | None) -> Mapping[str, Any]:
    if not select:
        return state
    parts = {name: state[name] for name in select if "." not in name}
    keys = [name.partition(".")[2] for name in select if "." in name]
    if keys and "values" not in parts:
        values = state["values"] if isinstance(state["values"], dict) else {}
        parts["values"] = {key: values[key] for key in keys if key in values}
    return parts


@router.get("/{thread_id}/state", responses=error_responses(NotFound, Conflict), response_model=ThreadState)
async def get_state(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    select: SelectedParts,
    subgraphs: Subgraphs = False,
) -> Response:
    """Return a thread's newest state."""
    state = await threads.states.get(owner_id, thread_id, subgraphs=subgraphs)
    return JsonResponse(await encode_object(_select_parts(state, select)))


@router.get(
    "/{thread_id}/state/{checkpoint_id}", responses=error_responses(NotFound, Conflict), response_model=ThreadState
)
async def get_state_at(
    thread_id: ThreadId,
    checkpoint_id: CheckpointId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    select: SelectedParts,
    subgraphs: Subgraphs = False,
) -> Response:
    """Return a thread's state at a checkpoint."""
    state = await threads.states.get(owner_id, thread_id, Checkpoint(checkpoint_id=checkpoint_id), subgraphs=subgraphs)
    return JsonResponse(await encode_object(_select_parts(state, select)))


@router.post("/{thread_id}/state/checkpoint", responses=error_responses(NotFound, Conflict), response_model=ThreadState)
async def find_state_at(
    thread_id: ThreadId, body: StateAtCheckpoint, owner_id: CurrentOwner, threads: ThreadsDep
) -> Response:
    """Return the state of a thread, or of a subgraph, at a checkpoint."""
    state = await threads.states.get(owner_id, thread_id, body.checkpoint, subgraphs=bool(body.subgraphs))
    return JsonResponse(await encode_object(_select_parts(state, body.select)))


@router.post(
    "/{thread_id}/state",
    responses=error_responses(NotFound, Conflict, StorageQuotaExceeded),
    response_model=StateChanged,
)
async def update_state(thread_id: ThreadId, body: StateChange, owner_id: CurrentOwner, threads: ThreadsDep) -> Response:
    """Update a thread's state as if a node had written it. From an earlier checkpoint this starts another branch."""
    updated = await threads.states.update(owner_id, thread_id, body)
    checkpoint = to_checkpoint(updated) or {}
    return JsonResponse(
        {"checkpoint": checkpoint, "configurable": checkpoint, "checkpoint_id": checkpoint["checkpoint_id"]}
    )


@router.post("/{thread_id}/history", responses=error_responses(NotFound, Conflict), response_model=list[ThreadState])
async def find_history(
    thread_id: ThreadId, body: HistoryQuery, owner_id: CurrentOwner, threads: ThreadsDep
) -> Response:
    """List a thread's states, newest first."""
    states = await threads.states.list_history(owner_id, thread_id, body)
    return await _history(states, body.select)


@router.get("/{thread_id}/history", responses=error_responses(NotFound, Conflict), response_model=list[ThreadState])
async def get_history(
    thread_id: ThreadId,
    owner_id: CurrentOwner,
    threads: ThreadsDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    before: Annotated[CheckpointId | None, Query(description="Return only states before this checkpoint.")] = None,
) -> Response:
    """List a thread's states, newest first."""
    states = await threads.states.list_history(owner_id, thread_id, HistoryQuery(limit=limit, before=before))
    return await _history(states, None)


async def _history(states: Page[dict[str, Any]], select: Sequence[str] | None) -> Response:
    """Return states; if some were left out, with the checkpoint before which the next page begins."""
    headers = {"X-Pagination-Next": states[-1]["checkpoint_id"]} if states.cut else {}
    return JsonResponse(await encode_list(_select_parts(state, select) for state in states), headers=headers)
