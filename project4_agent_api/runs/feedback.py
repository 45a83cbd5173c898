"""Feedback on runs: ratings, values and comments, under LangSmith's paths, so that its client works here too.

Only the owner of a run gives, reads, changes and deletes its feedback. It is deleted with its run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field
from uuid_utils.compat import uuid7

from project4_agent_api.core.bounded import encode_list, fetch_page, next_offset
from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.postgres import Pool, Row, connected, fetch_one
from project4_agent_api.core.schemas import AnyJson, LangGraphBody
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.core.storage import RequireStorage
from project4_agent_api.runs.schemas import FeedbackKey
from project4_agent_api.runs.service import RunsDep
from shared.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound, StorageQuotaExceeded
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.schemas import WITHOUT_NUL

_MAX_PER_RUN = 100
_NO_SUCH_RUN = "There is no run with this id."
_NO_SUCH_FEEDBACK = "There is no feedback with this id."

router = APIRouter(
    route_class=JsonRoute, prefix="/feedback", tags=["feedback"], responses=error_responses(DatabaseUnavailable)
)

AnyUUID = Annotated[UUID, Field(strict=False)]
Score = Annotated[float, Field(strict=False, allow_inf_nan=False)]  # true and false are 1 and 0
FeedbackId = Annotated[UUID, Path(description="The feedback's id.")]


class FeedbackPatch(LangGraphBody):
    """Changes to feedback. A field that is null is cleared; one that is absent stays."""

    score: Score | None = Field(default=None, description="A number, such as 1 for good and 0 for bad.")
    value: AnyJson = Field(default=None, description="Any other value, such as a category.")
    comment: Annotated[str, Field(max_length=10_000), WITHOUT_NUL] | None = None
    correction: AnyJson = Field(default=None, description="What the run should have returned.")


class FeedbackCreate(FeedbackPatch):
    """New feedback on a run."""

    run_id: AnyUUID | None = Field(default=None, description="The run, unless it is in the query.")
    key: FeedbackKey | None = Field(default=None, description="The rated aspect, unless it is in the query.")
    id: AnyUUID | None = Field(default=None, description="An id of your choice. With an existing one it is replaced.")
    extra: AnyJson = Field(default=None, description="Any other data.")


class FeedbackRead(BaseModel):
    """Feedback on a run."""

    id: UUID
    run_id: UUID
    trace_id: UUID = Field(description="The run, as LangSmith's clients name it.")
    thread_id: UUID
    key: str
    score: float | None
    value: Any
    comment: str | None
    correction: Any
    extra: Any
    created_at: datetime
    modified_at: datetime


_FIELDS = ("score", "value", "comment", "correction")
_JSON_FIELDS = ("value", "correction", "extra")
_COLUMNS = """
    id, run_id, run_id AS trace_id, thread_id, key, score, value, comment, correction, extra, created_at, modified_at
"""
# The run is locked, so that it still exists when this is committed. Concurrent requests may exceed the limit slightly.
_PUT = f"""
    WITH run AS (
        SELECT run_id, thread_id, traceparent FROM runs
        WHERE run_id = %(run_id)s AND owner_id = %(owner_id)s FOR KEY SHARE
    ), full_ AS (
        SELECT count(*) >= {_MAX_PER_RUN} AS yes FROM run_feedback WHERE run_id = %(run_id)s AND id <> %(id)s
    )
    INSERT INTO run_feedback
        (id, run_id, thread_id, owner_id, key, score, value, comment, correction, extra, created_at, modified_at)
    SELECT %(id)s, run_id, thread_id, %(owner_id)s, %(key)s, %(score)s, %(value)s, %(comment)s, %(correction)s,
        %(extra)s, now(), now()
    FROM run, full_ WHERE NOT full_.yes
    ON CONFLICT (id) DO UPDATE SET key = EXCLUDED.key, score = EXCLUDED.score, value = EXCLUDED.value,
        comment = EXCLUDED.comment, correction = EXCLUDED.correction, extra = EXCLUDED.extra, modified_at = now()
        WHERE run_feedback.owner_id = EXCLUDED.owner_id AND run_feedback.run_id = EXCLUDED.run_id
    RETURNING {_COLUMNS}, (SELECT traceparent FROM run) AS traceparent
"""  # noqa: S608  constants of this module
_OWN_RUN = "SELECT FROM runs WHERE run_id = %s AND owner_id = %s"
_GET = f"SELECT {_COLUMNS} FROM run_feedback WHERE id = %s AND owner_id = %s"  # noqa: S608  likewise
_SEARCH = f"""
    SELECT {_COLUMNS} FROM run_feedback WHERE owner_id = %(owner_id)s
        AND (%(run_ids)s::uuid[] IS NULL OR run_id = ANY(%(run_ids)s))
        AND (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s))
        AND (%(thread_id)s::uuid IS NULL OR thread_id = %(thread_id)s)
        AND (%(min_score)s::float8 IS NULL OR score >= %(min_score)s)
        AND (%(max_score)s::float8 IS NULL OR score <= %(max_score)s)
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608  likewise
_UPDATE = f"""
    UPDATE run_feedback SET %s WHERE id = %%(id)s AND owner_id = %%(owner_id)s
    RETURNING {_COLUMNS}
"""  # noqa: S608  likewise
_DELETE = "DELETE FROM run_feedback WHERE id = %s AND owner_id = %s RETURNING id"


def _json(name: str, value: object) -> object:
    return Jsonb(value) if name in _JSON_FIELDS and value is not None else value


async def _pool(runs: RunsDep) -> Pool:
    return runs.pool


PoolDep = Annotated[Pool, Depends(_pool)]


@router.post("", responses=error_responses(NotFound, Conflict, StorageQuotaExceeded), dependencies=[RequireStorage])
async def create_feedback(
    body: FeedbackCreate,
    owner_id: CurrentOwner,
    runs: RunsDep,
    run: Annotated[UUID | None, Query(description="The run, unless it is in the body.")] = None,
    key: Annotated[FeedbackKey | None, Query(description="The rated aspect, unless it is in the body.")] = None,
) -> FeedbackRead:
    """Give feedback on a run, or replace it."""
    run_id, name = body.run_id or run, body.key or key
    if run_id is None or name is None:
        raise InvalidRequest("Give `run_id` and `key`.")
    given = body.model_dump(include={*_FIELDS, "extra"})
    values = {field: _json(field, value) for field, value in given.items()}
    parameters = {"id": body.id or uuid7(), "run_id": run_id, "owner_id": owner_id, "key": name, **values}
    row = await fetch_one(runs.pool, _PUT, parameters)
    if row is None:
        if await fetch_one(runs.pool, _OWN_RUN, [run_id, owner_id]) is None:
            raise NotFound(_NO_SUCH_RUN)
        raise Conflict(f"The id is taken, or the run has {_MAX_PER_RUN} pieces of feedback already.")
    runs.tracing.rate_run(row["traceparent"], name, row["score"])
    return FeedbackRead.model_validate(row)


@router.get("", response_model=list[FeedbackRead])
async def search_feedback(
    owner_id: CurrentOwner,
    pool: PoolDep,
    run: Annotated[list[UUID] | None, Query(max_length=1000, description="Only on these runs.")] = None,
    key: Annotated[list[FeedbackKey] | None, Query(max_length=100, description="Only with these keys.")] = None,
    thread_id: Annotated[UUID | None, Query(description="Only on runs of this thread.")] = None,
    min_score: float | None = None,
    max_score: float | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """Search your feedback, newest first."""
    parameters: Mapping[str, Any] = {
        "owner_id": owner_id,
        "run_ids": run or None,
        "keys": key or None,
        "thread_id": thread_id,
        "min_score": min_score,
        "max_score": max_score,
        "limit": limit,
        "offset": offset,
    }
    async with connected(pool) as connection:
        rows = await fetch_page(connection, _SEARCH, parameters)
    return JsonResponse(await encode_list(map(_with_encoded_json, rows)), headers=next_offset(rows, offset))


def _with_encoded_json(row: Row) -> Row:
    """Return a row as `FeedbackRead` shows it. Its JSON stays encoded."""
    fields = FeedbackRead.model_validate(row).model_dump(mode="json", exclude=set(_JSON_FIELDS))
    return fields | {name: row[name] for name in _JSON_FIELDS}


@router.get("/{feedback_id}", responses=error_responses(NotFound))
async def get_feedback(feedback_id: FeedbackId, owner_id: CurrentOwner, pool: PoolDep) -> FeedbackRead:
    """Return feedback."""
    return _found(await fetch_one(pool, _GET, [feedback_id, owner_id]))


@router.patch(
    "/{feedback_id}", responses=error_responses(NotFound, StorageQuotaExceeded), dependencies=[RequireStorage]
)
async def update_feedback(
    feedback_id: FeedbackId, body: FeedbackPatch, owner_id: CurrentOwner, pool: PoolDep
) -> FeedbackRead:
    """Change the given fields of feedback."""
    changes = body.model_dump(include=body.model_fields_set & set(_FIELDS))
    assignments = ", ".join(["modified_at = now()", *(f"{name} = %({name})s" for name in changes)])
    values = {name: _json(name, value) for name, value in changes.items()}
    row = await fetch_one(pool, _UPDATE % assignments, {"id": feedback_id, "owner_id": owner_id, **values})
    return _found(row)


@router.delete("/{feedback_id}", status_code=204, responses=error_responses(NotFound))
async def delete_feedback(feedback_id: FeedbackId, owner_id: CurrentOwner, pool: PoolDep) -> None:
    """Delete feedback."""
    if await fetch_one(pool, _DELETE, [feedback_id, owner_id]) is None:
        raise NotFound(_NO_SUCH_FEEDBACK)


def _found(row: Row | None) -> FeedbackRead:
    if row is None:
        raise NotFound(_NO_SUCH_FEEDBACK)
    return FeedbackRead.model_validate(row)
