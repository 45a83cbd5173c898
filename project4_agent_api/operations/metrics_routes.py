"""`GET /metrics`: what the process has counted. It is for Prometheus, and in no document of the API."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from project4_agent_api.core.telemetry.collector import Looking
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.settings import Settings
from shared.errors import Unauthorized

router = APIRouter()

_token = HTTPBearer(auto_error=False)


async def may_look(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_token)]) -> None:
    """Let pass who knows the token, or anybody where there is none.

    Raises:
        Unauthorized: if it is somebody else.
    """
    settings: Settings = request.app.state.settings
    token = settings.metrics_token.get_secret_value()
    shown = given.credentials if given else ""
    if token and not secrets.compare_digest(shown.encode(), token.encode()):
        raise Unauthorized("Send METRICS_TOKEN as `Authorization: Bearer …`.")


@router.get("/metrics", dependencies=[Depends(may_look)], include_in_schema=False)
async def show_metrics(request: Request) -> Response:
    """Say what this process has counted, in Prometheus's text format."""
    looking: Looking = request.app.state.looking
    metrics: Metrics = request.app.state.metrics
    await looking.look()
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
