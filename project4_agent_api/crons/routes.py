"""Crons: runs to come, again and again, on a thread or each on its own."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from project4_agent_api.assistants.routes import AssistantsDep
from project4_agent_api.core.offset_pagination import cut, selected
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
from project4_agent_api.events.wakeups import say_due
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import DatabaseUnavailable, NotFound, TooManyRequests, documented
from shared.owner import CurrentOwner
from shared.redis.client import RedisDep


async def _most(request: Request) -> int:
    most: int = request.app.state.settings.user_crons_max
    return most


MostCrons = Annotated[int, Depends(_most)]

router = APIRouter(tags=["crons"], responses=documented(DatabaseUnavailable, NotFound))


@router.post("/runs/crons", responses=documented(TooManyRequests))
async def create_cron(
    body: CronCreate,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    sessions: SessionsDep,
    redis: RedisDep,
    most: MostCrons,
) -> CronRead:
    """Have an assistant run again and again, each time on a thread of its own."""
    async with transaction(sessions) as session:
        cron = await crons.create_cron(session, owner_id, assistants, body, most=most)
    await say_due(redis)
    return CronRead.model_validate(cron)


@router.post("/threads/{thread_id}/runs/crons", responses=documented(TooManyRequests))
async def create_thread_cron(
    thread_id: UUID,
    body: ThreadCronCreate,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    sessions: SessionsDep,
    redis: RedisDep,
    most: MostCrons,
) -> CronRead:
    """Have an assistant run on a thread again and again."""
    async with transaction(sessions) as session:
        cron = await crons.create_cron(session, owner_id, assistants, body, thread_id, most=most)
    await say_due(redis)
    return CronRead.model_validate(cron)


@router.post("/runs/crons/search", response_model=list[CronSelection], response_model_exclude_unset=True)  # type: ignore[valid-type]  # a model that was made at run time
async def search_crons(
    body: CronSearch, response: Response, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> Any:  # noqa: ANN401  the fields that were asked for
    """Find schedules, the newest first."""
    found = await crons.search_crons(session, owner_id, assistants, body)
    return selected(CronRead, cut(found, body, response), body.select)


@router.post("/runs/crons/count")
async def count_crons(
    body: CronFilter, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> int:
    """Count schedules."""
    return await crons.count_crons(session, owner_id, assistants, body)


@router.get("/runs/crons/{cron_id}")
async def get_cron(cron_id: UUID, owner_id: CurrentOwner, session: ReadSessionDep) -> CronRead:
    """Show a schedule."""
    return CronRead.model_validate(await crons.get_cron(session, owner_id, cron_id))


@router.patch("/runs/crons/{cron_id}")
async def update_cron(
    cron_id: UUID, body: CronPatch, owner_id: CurrentOwner, sessions: SessionsDep, redis: RedisDep
) -> CronRead:
    """Change what is given."""
    async with transaction(sessions) as session:
        cron = await crons.update_cron(session, owner_id, cron_id, body)
    await say_due(redis)
    return CronRead.model_validate(cron)


@router.delete("/runs/crons/{cron_id}", status_code=204)
async def delete_cron(cron_id: UUID, owner_id: CurrentOwner, session: SessionDep) -> None:
    """Delete a schedule. Runs that it has made go on."""
    await crons.delete_cron(session, owner_id, cron_id)
