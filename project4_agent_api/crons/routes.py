"""Crons: create, find, change and delete schedules that start runs."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from project4_agent_api.assistants.routes import AssistantsDep
from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.offset_pagination import select_fields, trim_page
from project4_agent_api.core.state import from_state
from project4_agent_api.core.storage import StorageQuota
from project4_agent_api.crons import service as crons
from project4_agent_api.crons.schemas import (
    CronCreate,
    CronFilter,
    CronPatch,
    CronRead,
    CronSearch,
    CronSelection,
    ThreadCronCreate,
)
from project4_agent_api.crons.service import CronLimits
from project4_agent_api.events.wakeups import publish_due_time
from project4_agent_api.runs.webhooks import Webhooks
from project4_agent_api.settings import Settings
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import DatabaseUnavailable, NotFound, StorageQuotaExceeded, TooManyRequests
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.redis.client import RedisClient

RedisDep = Annotated[RedisClient, Depends(from_state(RedisClient))]


async def cron_limits(settings: Annotated[Settings, Depends(from_state(Settings))]) -> CronLimits:
    """Return the limits of crons."""
    return CronLimits(settings.user_crons_max, settings.cron_interval_seconds)


LimitsDep = Annotated[CronLimits, Depends(cron_limits)]
QuotaDep = Annotated[StorageQuota, Depends(from_state(StorageQuota))]
WebhooksDep = Annotated[Webhooks, Depends(from_state(Webhooks))]


@dataclass(frozen=True)
class CronCreator:
    """Stores the cron of a request, and tells the workers when it is due."""

    owner_id: CurrentOwner
    assistants: AssistantsDep
    sessions: SessionsDep
    redis: RedisDep
    webhooks: WebhooksDep
    limits: LimitsDep
    quota: QuotaDep

    async def create(self, body: CronCreate | ThreadCronCreate, thread_id: UUID | None = None) -> CronRead:
        """Store a cron, for one thread or for a new thread each time."""
        self.webhooks.policy.check(body.webhook)
        async with transaction(self.sessions) as session:
            await self.quota.require_in_session(session, self.owner_id)
            cron = await crons.create_cron(session, self.owner_id, self.assistants, body, thread_id, limits=self.limits)
        await publish_due_time(self.redis)
        return CronRead.model_validate(cron)


CronCreatorDep = Annotated[CronCreator, Depends()]

router = APIRouter(route_class=JsonRoute, tags=["crons"], responses=error_responses(DatabaseUnavailable, NotFound))


@router.post("/runs/crons", responses=error_responses(TooManyRequests, StorageQuotaExceeded))
async def create_cron(body: CronCreate, creator: CronCreatorDep) -> CronRead:
    """Create a cron that runs an assistant, each time on a new thread."""
    return await creator.create(body)


@router.post("/threads/{thread_id}/runs/crons", responses=error_responses(TooManyRequests, StorageQuotaExceeded))
async def create_thread_cron(thread_id: UUID, body: ThreadCronCreate, creator: CronCreatorDep) -> CronRead:
    """Create a cron that runs an assistant on a thread."""
    return await creator.create(body, thread_id)


@router.post("/runs/crons/search", response_model=list[CronSelection], response_model_exclude_unset=True)  # type: ignore[valid-type]  # a model that was made at run time
async def search_crons(
    body: CronSearch, response: Response, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> Any:  # noqa: ANN401  the fields that were asked for
    """Find crons, newest first."""
    found = await crons.search_crons(session, owner_id, assistants, body)
    return select_fields(CronRead, trim_page(found, body, response), body.select)


@router.post("/runs/crons/count")
async def count_crons(
    body: CronFilter, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> int:
    """Count crons."""
    return await crons.count_crons(session, owner_id, assistants, body)


@router.get("/runs/crons/{cron_id}")
async def get_cron(cron_id: UUID, owner_id: CurrentOwner, session: ReadSessionDep) -> CronRead:
    """Return a cron."""
    return CronRead.model_validate(await crons.get_cron(session, owner_id, cron_id))


@router.patch("/runs/crons/{cron_id}", responses=error_responses(StorageQuotaExceeded))
async def update_cron(
    cron_id: UUID,
    body: CronPatch,
    owner_id: CurrentOwner,
    sessions: SessionsDep,
    redis: RedisDep,
    webhooks: WebhooksDep,
    limits: LimitsDep,
    quota: QuotaDep,
) -> CronRead:
    """Change the given fields of a cron."""
    webhooks.policy.check(body.webhook)
    async with transaction(sessions) as session:
        if body.model_fields_set - {"enabled"}:  # a full quota must not keep a cron going
            await quota.require_in_session(session, owner_id)
        cron = await crons.update_cron(session, owner_id, cron_id, body, limits)
    await publish_due_time(redis)
    return CronRead.model_validate(cron)


@router.delete("/runs/crons/{cron_id}", status_code=204)
async def delete_cron(cron_id: UUID, owner_id: CurrentOwner, session: SessionDep) -> None:
    """Delete a cron. Its runs continue."""
    await crons.delete_cron(session, owner_id, cron_id)
