"""Crons for the API: create, read, change, search and delete them. Workers fire them; see `firing.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.run_context import current_user
from project4_agent_api.crons import repository
from project4_agent_api.crons.schedule import next_due, require_interval
from project4_agent_api.crons.schemas import (
    CronCreate,
    CronFilter,
    CronOptions,
    CronPatch,
    CronSearch,
    ThreadCronCreate,
)
from project4_agent_api.models import Cron, Json
from shared.errors import InvalidRequest, Limit, NotFound, TooManyRequests

_RETRY_SECONDS = 60  # crons do not end by themselves
USER = "langgraph_auth_user"  # in a cron's payload, never in responses: the user whose runs it creates
_NO_SUCH_CRON = "There is no cron with this id."


@dataclass(frozen=True)
class CronLimits:
    """The limits of crons.

    Attributes:
        per_user: Maximum crons of one user. Crons that are created at the same moment do not see each other.
        shortest_seconds: Minimum seconds between two firings of a cron.
    """

    per_user: int
    shortest_seconds: float


async def create_cron(
    session: AsyncSession,
    owner_id: UUID,
    assistants: Assistants,
    body: CronCreate | ThreadCronCreate,
    thread_id: UUID | None = None,
    *,
    limits: CronLimits,
) -> Cron:
    """Store a cron.

    Args:
        session: Within a transaction.
        thread_id: The thread of its runs; None for a new one each time.

    Raises:
        InvalidRequest: if it would be due too often, or its configuration is of another thread.
        NotFound: if there is no such assistant or thread, or it belongs to another user.
        TooManyRequests: if the user has as many already.
    """
    require_interval(body.schedule, limits.shortest_seconds)
    assistant_id = assistants.parse_id(body.assistant_id)
    if body.config:
        body.config.require_thread(thread_id)
    # Locked, so that both still exist when this is committed.
    if not await repository.lock_assistant(session, assistant_id, assistants.visible_to(owner_id)):
        raise NotFound("There is no assistant with this id.")
    if thread_id is not None and not await repository.lock_thread(session, owner_id, thread_id):
        raise NotFound("There is no thread with this id.")
    await _require_capacity(session, owner_id, limits.per_user)
    now = await repository.database_time(session)
    on_run_completed = (body.on_run_completed or "delete") if isinstance(body, CronCreate) else None
    cron_id = uuid7()
    cron = Cron(
        cron_id=cron_id,
        owner_id=owner_id,
        assistant_id=assistant_id,
        thread_id=thread_id,
        schedule=body.schedule,
        timezone=body.timezone,
        payload=_with_id(_given_fields(body) | {"assistant_id": str(assistant_id), USER: current_user()}, cron_id),
        meta=body.metadata or {},
        on_run_completed=on_run_completed,
        enabled=body.enabled is not False,
        end_time=body.end_time,
        next_run_date=next_due(body.schedule, body.timezone, now, body.end_time),
        created_at=now,
        updated_at=now,
    )
    session.add(cron)
    return cron


async def _require_capacity(session: AsyncSession, owner_id: UUID, maximum: int) -> None:
    count = await repository.count_of_owner(session, owner_id)
    if count >= maximum:
        raise TooManyRequests(
            f"You have {maximum:,} crons already. Delete one first.",
            retry_after=_RETRY_SECONDS,
            limit=Limit("user_crons_max", maximum, count),
        )


async def get_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID, *, for_update: bool = False) -> Cron:
    """Return a cron.

    Raises:
        NotFound: if there is none, or it belongs to another user.
    """
    cron = await repository.find_cron(session, owner_id, cron_id, for_update=for_update)
    if cron is None:
        raise NotFound(_NO_SUCH_CRON)
    return cron


async def update_cron(
    session: AsyncSession, owner_id: UUID, cron_id: UUID, body: CronPatch, limits: CronLimits
) -> Cron:
    """Change the given fields of a cron. An `end_time` of null removes the end.

    Raises:
        InvalidRequest: if the change contradicts the other fields, or it would be due too often.
        NotFound: if there is no such cron, or it belongs to another user.
    """
    cron = await get_cron(session, owner_id, cron_id, for_update=True)
    if body.config:
        body.config.require_thread(cron.thread_id)
    if body.on_run_completed and cron.thread_id:
        raise InvalidRequest("`on_run_completed` is for crons without a thread: the thread of this one is kept.")
    if body.schedule:
        require_interval(body.schedule, limits.shortest_seconds)
    cron.schedule = body.schedule or cron.schedule
    cron.timezone = body.timezone or cron.timezone
    cron.end_time = body.end_time if "end_time" in body.model_fields_set else cron.end_time
    cron.enabled = cron.enabled if body.enabled is None else body.enabled
    cron.on_run_completed = body.on_run_completed or cron.on_run_completed
    cron.meta = cron.meta | (body.metadata or {})
    payload = cron.payload | _given_fields(body)
    if cron.end_time is None:
        payload.pop("end_time", None)
    if payload.get("context") and set(payload["config"].get("configurable", {})) - {"cron_id"}:
        raise InvalidRequest("Give either config.configurable or context: they are the same, and context is the newer.")
    cron.payload = _with_id(payload, cron_id)
    cron.updated_at = await repository.database_time(session)
    if body.model_fields_set & {"schedule", "timezone", "end_time", "enabled"}:
        # No firing for times at which the cron was disabled or had another schedule.
        cron.next_run_date = next_due(cron.schedule, cron.timezone, cron.updated_at, cron.end_time)
    return cron


async def delete_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID) -> None:
    """Delete a cron. Its runs continue.

    Raises:
        NotFound: if there is none, or it belongs to another user.
    """
    if not await repository.delete_cron(session, owner_id, cron_id):
        raise NotFound(_NO_SUCH_CRON)


async def search_crons(
    session: AsyncSession, owner_id: UUID, assistants: Assistants, body: CronSearch
) -> Sequence[Cron]:
    """Return a page of crons, and one more if there are more.

    Raises:
        InvalidRequest: if the assistant is neither an id nor a graph's name.
    """
    return await repository.search_crons(session, owner_id, body, _filtered_assistant(assistants, body))


async def count_crons(session: AsyncSession, owner_id: UUID, assistants: Assistants, body: CronFilter) -> int:
    """Count crons.

    Raises:
        InvalidRequest: if the assistant is neither an id nor a graph's name.
    """
    return await repository.count_crons(session, owner_id, body, _filtered_assistant(assistants, body))


def _filtered_assistant(assistants: Assistants, body: CronFilter) -> UUID | None:
    return None if body.assistant_id is None else assistants.parse_id(body.assistant_id)


def _given_fields(body: CronOptions) -> Json:
    return body.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _with_id(payload: Json, cron_id: UUID) -> Json:
    """Add the cron's id to the configuration of its runs."""
    config = payload.get("config") or {}
    return payload | {"config": config | {"configurable": config.get("configurable", {}) | {"cron_id": str(cron_id)}}}
