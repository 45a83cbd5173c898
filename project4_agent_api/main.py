"""Stage 4, put together: stage 3 behind accounts, and agents with durable runs. `make run-project4` runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import Depends, FastAPI

from project1_qa_api import main as stage1
from project1_qa_api.routes import ask
from project2_user_mgmt import main as stage2
from project2_user_mgmt.routes import messages, users
from project3_rag_docs import main as stage3
from project3_rag_docs.routes import answers, documents
from project4_agent_api import bootstrap
from project4_agent_api.accounts import api_key_routes
from project4_agent_api.accounts import routes as auth
from project4_agent_api.accounts.authenticator import admission
from project4_agent_api.accounts.deletion import user_changes, with_the_user
from project4_agent_api.accounts.guards import Locked, Open
from project4_agent_api.accounts.login_throttle import attempts
from project4_agent_api.accounts.principal_cache import KnownAccounts
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.accounts.tokens import AccessTokens
from project4_agent_api.assistants import routes as assistants
from project4_agent_api.core.caches import caches
from project4_agent_api.core.history import redis_history
from project4_agent_api.core.idempotency import describe, idempotency
from project4_agent_api.core.postgres import pool
from project4_agent_api.core.rate_limits import rate_limits
from project4_agent_api.core.telemetry.collector import looking
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.requests import CountRequests
from project4_agent_api.core.telemetry.tracing import trace, tracing
from project4_agent_api.crons import routes as crons
from project4_agent_api.models import AccountRole
from project4_agent_api.operations import metrics_routes
from project4_agent_api.operations import routes as system
from project4_agent_api.runs import routes as runs
from project4_agent_api.settings import Settings
from project4_agent_api.store import routes as store
from project4_agent_api.streams.protocol import routes as protocol
from project4_agent_api.threads import routes as threads
from shared import health
from shared.app import build_app
from shared.frontend import Panel
from shared.redis.client import redis
from shared.settings import load_settings


@asynccontextmanager
async def accounts(app: FastAPI) -> AsyncIterator[None]:
    """Put what makes and reads tokens, and what is remembered of accounts, on `app.state`."""
    settings: Settings = app.state.settings
    tokens = AccessTokens(settings.jwt_secret.get_secret_value(), settings.access_token_minutes)
    app.state.access_tokens = tokens
    app.state.known_accounts = KnownAccounts(app.state.redis)
    app.state.cache_counters["accounts"] = app.state.known_accounts.counters
    app.state.sign_ins = SignIns(
        app.state.sessions, tokens, settings.refresh_token_days, app.state.known_accounts.changed
    )
    yield


# After stage 2's own have committed, and before them.
USER_CHANGES = [Depends(user_changes, scope="function"), Depends(with_the_user)]
ROUTERS = [
    health.router,
    Open(auth.router),
    Locked(auth.own_router, api_key_routes.router),
    Locked(ask.router),
    Locked(users.router, messages.router, role=AccountRole.ADMIN, dependencies=USER_CHANGES),
    Locked(documents.router, answers.router),
    Locked(assistants.router),
    Locked(threads.router),
    Locked(runs.router),
    Locked(protocol.router),
    protocol.sockets,
    Locked(store.router),
    Locked(crons.router),
    system.router,
    metrics_routes.router,
]
RESOURCES = [
    tracing,
    *(resource for resource in stage3.RESOURCES if resource is not stage3.worker),  # it has a process of its own here
    redis,
    redis_history,
    rate_limits,
    attempts,
    pool,
    caches,
    accounts,
    admission,
    idempotency,
    bootstrap.graphs,
    bootstrap.channels,
    bootstrap.webhooks,
    bootstrap.runs,
    looking,
]
_PAGE = Path(__file__).parent / "page"
ACCOUNT_PANEL = Panel(_PAGE / "account.js")
# Behind the account's panel, as the routers are behind the lock. It admits audiences by these names.
LOCKED_PANELS = [
    Panel(_PAGE / "chat.js", audience="users"),
    replace(stage3.PANEL, audience="users"),
    replace(stage1.PANEL, audience="users"),
    replace(stage2.PANEL, audience="administrators"),
]
# Where everyone is one local user, nobody has an account.
OPEN_PANELS = [replace(panel, audience="") for panel in LOCKED_PANELS]


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application of stage 4."""
    settings = settings or load_settings(Settings)
    app = build_app(
        settings,
        title="Project 4: agents",
        description="Stages 1 to 3 behind accounts, and LangGraph agents with durable runs.",
        routers=ROUTERS,
        resources=RESOURCES,
        panels=[ACCOUNT_PANEL, *LOCKED_PANELS] if settings.auth_required else OPEN_PANELS,
        body_limits={documents.PATH: settings.max_upload_bytes + stage3.FORM_BYTES},
        describe=describe,
    )
    app.state.metrics = Metrics()
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    trace(app, settings, "agent-api")
    return app
