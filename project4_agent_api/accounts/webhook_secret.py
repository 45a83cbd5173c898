"""The caller's secret for the signatures of webhooks."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from project4_agent_api.accounts.guards import require_sign_in
from project4_agent_api.core.postgres import PoolDep, connected
from project4_agent_api.core.state import from_state
from project4_agent_api.runs.webhook_signatures import WebhookSecrets, delete_secret, load_secret
from project4_agent_api.settings import Settings
from shared.errors import Forbidden, NotFound
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.schemas import RequestBody

router = APIRouter(prefix="/auth/me/webhook-secret", tags=["accounts"], responses=error_responses(NotFound))


class WebhookSecretRotation(RequestBody):
    """How a secret is replaced."""

    previous_valid_hours: int = Field(
        default=24, ge=0, le=720, description="Hours for which calls are signed with the previous secret too."
    )


class WebhookSecretRead(BaseModel):
    """The validity of a secret."""

    created_at: datetime
    previous_valid_until: datetime | None = Field(
        description="Until then, calls are signed with the previous secret too; null if there is none."
    )


class WebhookSecretCreated(WebhookSecretRead):
    """A new secret, which is shown only once."""

    secret: str = Field(repr=False, description="Secret of Standard Webhooks.", examples=["whsec_MfKQ9r8GKYqrTwjU…"])


@router.get("")
async def show_webhook_secret(owner_id: CurrentOwner, pool: PoolDep) -> WebhookSecretRead:
    """Show when the secret was created, without the secret."""
    row = await load_secret(pool, owner_id)
    if row is None:
        raise NotFound("There is no secret: webhooks are not signed.")
    return WebhookSecretRead(**row)


@router.post("", status_code=201, dependencies=[Depends(require_sign_in)], responses=error_responses(Forbidden))
async def rotate_webhook_secret(
    owner_id: CurrentOwner,
    pool: PoolDep,
    settings: Annotated[Settings, Depends(from_state(Settings))],
    body: WebhookSecretRotation | None = None,
) -> WebhookSecretCreated:
    """Create the secret for the signatures of webhooks, or replace it. Only this response contains the secret."""
    hours = (body or WebhookSecretRotation()).previous_valid_hours
    secrets = WebhookSecrets.from_settings(settings)
    async with connected(pool) as connection:
        secret, row = await secrets.rotate(connection, owner_id, hours)
    return WebhookSecretCreated(secret=secret, **row)


@router.delete("", status_code=204, dependencies=[Depends(require_sign_in)], responses=error_responses(Forbidden))
async def delete_webhook_secret(owner_id: CurrentOwner, pool: PoolDep) -> None:
    """Delete the secret. Further calls have no signature."""
    async with connected(pool) as connection:
        await delete_secret(connection, owner_id)
