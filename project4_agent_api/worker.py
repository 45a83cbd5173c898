"""The worker, put together: it executes runs, reads documents and fires schedules.

`python -m project4_agent_api worker` runs it; any number of them work beside any number of API processes, on one
database and one Redis. It serves nothing but `/health`, `/ready` and `/metrics`, for whoever looks after it.
"""

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project4_agent_api import bootstrap
from project4_agent_api.accounts.deletion import removed_later
from project4_agent_api.core.caches import caches
from project4_agent_api.core.history import redis_history
from project4_agent_api.core.postgres import pool
from project4_agent_api.core.telemetry.collector import looking_at_worker
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import trace, tracing
from project4_agent_api.operations import metrics_routes
from project4_agent_api.operations.retention import retention
from project4_agent_api.settings import Settings
from shared import health
from shared.app import build_app
from shared.redis.client import redis
from shared.settings import load_settings

ROUTERS = [
    health.router,
    metrics_routes.router,
]
RESOURCES = [
    tracing,
    *(resource for resource in stage3.RESOURCES if resource is not stage3.worker),
    removed_later,
    stage3.worker,
    redis,
    redis_history,
    pool,
    caches,
    bootstrap.graphs,
    bootstrap.channels,
    bootstrap.webhooks,
    bootstrap.runs,
    looking_at_worker,
    bootstrap.webhook_worker,
    retention,
    bootstrap.run_worker,
]


def create_worker(settings: Settings | None = None) -> FastAPI:
    """Make the worker. It works from its start to its end."""
    settings = settings or load_settings(Settings)
    app = build_app(
        settings,
        title="Project 4: worker",
        description="Executes runs.",
        routers=ROUTERS,
        resources=RESOURCES,
        panels=[],
    )
    app.state.metrics = Metrics()
    trace(app, settings, "agent-worker")
    return app
