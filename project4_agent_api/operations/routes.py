"""Operations: `/ok` and `/info`, which clients of LangGraph's API call first, and `/metrics` for Prometheus."""

import secrets
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from project4_agent_api.core.state import from_state
from project4_agent_api.core.telemetry.collector import MetricsCollector
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.settings import Settings
from shared.errors import Forbidden, NotReady, Unauthorized
from shared.health import Checks, get_checks
from shared.outbound.addresses import is_public
from shared.problems import error_responses

router = APIRouter(tags=["system"])
metrics_router = APIRouter()  # a worker has only this one

CollectorDep = Annotated[MetricsCollector, Depends(from_state(MetricsCollector))]
MetricsDep = Annotated[Metrics, Depends(from_state(Metrics))]
SettingsDep = Annotated[Settings, Depends(from_state(Settings))]

# The version of LangGraph's server whose API this is, and which the conformance tests compare with. Clients compare it
# with the versions since which a feature exists.
API_VERSION = "0.16.7"

_token = HTTPBearer(auto_error=False)


class Ok(BaseModel):
    """The service is available."""

    ok: bool = True


class Flags(BaseModel):
    """Features of the service."""

    assistants: bool = True
    crons: bool = True
    langsmith: bool = False
    strict_resume: bool = True


class Host(BaseModel):
    """The kind of deployment."""

    kind: str = "self-hosted"


class Info(BaseModel):
    """Versions and features of the service."""

    version: str = Field(default=API_VERSION, description="The version of LangGraph's API.")
    service_version: str
    langgraph_py_version: str
    flags: Flags = Flags()
    host: Host = Host()


@router.get("/ok", responses=error_responses(NotReady))
async def show_ok(
    checks: Annotated[Checks, Depends(get_checks)],
    check_db: Annotated[bool, Query(description="Whether to check the database too.")] = False,
) -> Ok:
    """Report that the service is available."""
    if check_db and (await checks.run())["database"].status != "ok":
        raise NotReady("Not reachable: database.")
    return Ok()


@router.get("/info")
async def show_info(request: Request) -> Info:
    """Show the versions and features of the service."""
    return Info(service_version=request.app.version, langgraph_py_version=version("langgraph"))


async def require_metrics_token(
    request: Request,
    settings: SettingsDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_token)],
) -> None:
    """Require METRICS_TOKEN, if it is set; in production without it, a client in a private network.

    Raises:
        Unauthorized: if the request has another token, or none.
        Forbidden: if there is no METRICS_TOKEN, and the client is not in a private network.
    """
    expected = settings.metrics_token.get_secret_value()
    if not expected and settings.production and not _is_private(request.client.host if request.client else ""):
        raise Forbidden("Without METRICS_TOKEN, the metrics are for private networks.")
    token = credentials.credentials if credentials else ""
    if expected and not secrets.compare_digest(token.encode(), expected.encode()):
        raise Unauthorized("Send METRICS_TOKEN as `Authorization: Bearer …`.")


@metrics_router.get("/metrics", dependencies=[Depends(require_metrics_token)], include_in_schema=False)
async def show_metrics(metrics: MetricsDep, collector: CollectorDep) -> Response:
    """Return the metrics of this process in Prometheus's text format."""
    return Response(await collector.render(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _is_private(address: str) -> bool:
    try:
        return not is_public(address)
    except ValueError:  # a socket of this host, or a proxy that passes no address
        return True
