"""The usage of a user, and its limits: stored bytes, runs, schedules, keys, webhooks and documents."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from project3_rag_docs.settings import MIB
from project4_agent_api.core.model_usage import Cost, Prices, Tokens, UsageByModel, list_days, total_usage
from project4_agent_api.core.postgres import Pool, PoolDep, fetch_all, fetch_one
from project4_agent_api.core.state import from_state
from project4_agent_api.core.storage import bytes_by_kind
from project4_agent_api.settings import Settings
from shared.errors import NotFound
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter()
admin_router = APIRouter(tags=["accounts"])

SettingsDep = Annotated[Settings, Depends(from_state(Settings))]


class Held(BaseModel):
    """An amount that a user has, and the limit."""

    used: int
    maximum: int = Field(description="The setting of the same name; storage in bytes.")


class UsageRead(BaseModel):
    """Amounts and limits of a user."""

    user_storage_mb: Held = Field(description="Stored bytes.")
    stored_bytes: dict[str, int] = Field(description="The same by kind of data.", examples=[{"threads": 52_311}])
    user_runs_waiting_max: Held
    user_runs_deferred_max: Held
    user_runs_running_max: Held
    user_crons_max: Held
    user_api_keys_max: Held
    user_webhooks_max: Held
    user_documents_waiting_max: Held


class ModelTotals(BaseModel):
    """Model calls of a user: of runs, and of questions about documents."""

    calls: int = Field(description="Those whose endpoint reported tokens.")
    tokens: Tokens
    cost: Cost


class ModelDay(ModelTotals):
    """The calls of one model on one day."""

    day: date = Field(description="In UTC.")
    model: str


class ModelUsageRead(BaseModel):
    """Tokens and costs of a user's model calls."""

    total: ModelTotals = Field(description="Of all days.")
    days: list[ModelDay] = Field(description="Newest first, at most 1,000.")


class UserUsage(BaseModel):
    """The stored bytes of a user."""

    user_id: UUID
    email: str | None = Field(description="Null without an account, such as documents that were uploaded without one.")
    stored_bytes: int


_COUNTS = """
    SELECT
        (SELECT count(*) FROM runs WHERE owner_id = %(owner)s AND status = 'pending' AND due_at <= now())
            AS user_runs_waiting_max,
        (SELECT count(*) FROM runs WHERE owner_id = %(owner)s AND status = 'pending' AND due_at > now())
            AS user_runs_deferred_max,
        (SELECT count(*) FROM runs WHERE owner_id = %(owner)s AND status = 'running') AS user_runs_running_max,
        (SELECT count(*) FROM crons WHERE owner_id = %(owner)s) AS user_crons_max,
        (SELECT count(*) FROM api_keys WHERE user_id = %(owner)s) AS user_api_keys_max,
        (SELECT count(*) FROM webhooks WHERE owner_id = %(owner)s) AS user_webhooks_max,
        (SELECT count(*) FROM documents WHERE owner_id = %(owner)s AND status = 'processing')
            AS user_documents_waiting_max
"""
_LARGEST = """
    SELECT owner_id AS user_id, email, sum(bytes)::bigint AS stored_bytes
    FROM stored_bytes LEFT JOIN users ON users.id = owner_id
    GROUP BY owner_id, email ORDER BY stored_bytes DESC, owner_id LIMIT %s
"""


async def read_usage(pool: Pool, settings: Settings, owner_id: UUID) -> UsageRead:
    """Return a user's usage and limits.

    Raises:
        DatabaseUnavailable: if the database is unavailable.
    """
    stored = await bytes_by_kind(pool, owner_id)
    counts = await fetch_one(pool, _COUNTS, {"owner": owner_id}) or {}
    held: dict[str, Any] = {name: Held(used=used, maximum=getattr(settings, name)) for name, used in counts.items()}
    storage = Held(used=sum(stored.values()), maximum=settings.user_storage_mb * MIB)
    return UsageRead(user_storage_mb=storage, stored_bytes=stored, **held)


async def _require_user(pool: Pool, user_id: UUID) -> None:
    if await fetch_one(pool, "SELECT FROM users WHERE id = %s", [user_id]) is None:
        raise NotFound("There is no user with this id.")


async def read_model_usage(pool: Pool, settings: Settings, owner_id: UUID, days: int) -> ModelUsageRead:
    """Return the tokens of a user's model calls, and their cost.

    Raises:
        DatabaseUnavailable: if the database is unavailable.
    """
    prices = Prices.from_settings(settings)

    def totals(usage: UsageByModel) -> dict[str, Any]:
        calls = sum(model_usage.calls for model_usage in usage.values())
        return {"calls": calls, "tokens": usage.tokens, "cost": prices.cost(usage)}

    rows = await list_days(pool, owner_id, days)
    return ModelUsageRead(
        total=ModelTotals(**totals(await total_usage(pool, owner_id))),
        days=[ModelDay(day=row["day"], model=row["model"], **totals(UsageByModel.from_json([row]))) for row in rows],
    )


Days = Annotated[int, Query(ge=1, le=366, description="How many days, today's included.")]


@router.get("/me/usage/models")
async def show_own_model_usage(
    owner_id: CurrentOwner, pool: PoolDep, settings: SettingsDep, days: Days = 30
) -> ModelUsageRead:
    """Show the tokens and costs of the caller's model calls, in total and by day and model."""
    return await read_model_usage(pool, settings, owner_id, days)


@admin_router.get("/users/{user_id}/usage/models", responses=error_responses(NotFound))
async def show_model_usage(user_id: UUID, pool: PoolDep, settings: SettingsDep, days: Days = 30) -> ModelUsageRead:
    """Show the tokens and costs of a user's model calls, in total and by day and model."""
    await _require_user(pool, user_id)
    return await read_model_usage(pool, settings, user_id, days)


@router.get("/me/usage")
async def show_own_usage(owner_id: CurrentOwner, pool: PoolDep, settings: SettingsDep) -> UsageRead:
    """Show what the caller stores and has waiting, with the limits."""
    return await read_usage(pool, settings, owner_id)


@admin_router.get("/users/{user_id}/usage", responses=error_responses(NotFound))
async def show_usage(user_id: UUID, pool: PoolDep, settings: SettingsDep) -> UsageRead:
    """Show what a user stores and has waiting, with the limits."""
    await _require_user(pool, user_id)
    return await read_usage(pool, settings, user_id)


@admin_router.get("/usage")
async def list_usage(pool: PoolDep, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> list[UserUsage]:
    """List the users who store the most, in the last few seconds' state."""
    return [UserUsage.model_validate(row) for row in await fetch_all(pool, _LARGEST, [limit])]
