"""The worker, put together: it executes runs, reads documents and fires schedules.

`python -m project4_agent_api worker` runs it; any number of them work beside any number of API processes, on one
database and one Redis. It serves only `/health`, `/ready` and `/metrics`, for operators.
"""

from functools import partial

from fastapi import FastAPI

from project4_agent_api import bootstrap
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import create_tracing
from project4_agent_api.operations import routes as operations
from project4_agent_api.settings import Settings
from shared import health
from shared.app import build_app
from shared.settings import load_settings

ROUTERS = [
    health.router,
    operations.metrics_router,
]


def create_worker(settings: Settings | None = None) -> FastAPI:
    """Make the worker. It works from its start to its end."""
    settings = settings or load_settings(Settings)
    project = bootstrap.load_project(settings)
    metrics = Metrics()
    tracing = create_tracing(settings, "agent-worker")
    app = build_app(
        settings,
        title="Project 4: worker",
        description="Executes runs.",
        routers=ROUTERS,
        resources=[
            tracing.running,
            *bootstrap.EARLIER_RESOURCES,
            partial(bootstrap.open_worker, metrics=metrics, tracing=tracing, project=project),
        ],
        panels=[],
    )
    tracing.trace_requests(app)
    return app
