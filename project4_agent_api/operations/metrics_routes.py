"""`GET /metrics`: what the process has counted. It is for Prometheus, and in no document of the API."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from project4_agent_api.core.state import from_state
from project4_agent_api.core.telemetry.collector import MetricsCollector
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.settings import Settings
from shared.errors import Unauthorized

router = APIRouter()

LookingDep = Annotated[MetricsCollector, Depends(from_state(MetricsCollector))]
MetricsDep = Annotated[Metrics, Depends(from_state(Metrics))]
SettingsDep = Annotated[Settings, Depends(from_state(Settings))]

_token = HTTPBearer(auto_error=False)


async def require_metrics_token(
    settings: SettingsDep, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_token)]
) -> None:
    """Let pass who knows the token, or anybody where there is none.

    Raises:
        Unauthorized: if it is somebody else.
    """
    token = settings.metrics_token.get_secret_value()
    shown = given.credentials if given else ""
    if token and not secrets.compare_digest(shown.encode(), token.encode()):
        raise Unauthorized("Send METRICS_TOKEN as `Authorization: Bearer …`.")


@router.get("/metrics", dependencies=[Depends(require_metrics_token)], include_in_schema=False)
async def show_metrics(metrics: MetricsDep, looking: LookingDep) -> Response:
    """Say what this process has counted, in Prometheus's text format."""
    await looking.refresh()
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
