"""Stage 4, put together: stage 3 behind accounts, and agents with durable runs. `make run-project4` runs it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from project1_qa_api import main as stage1
from project1_qa_api.routes import ask
from project2_user_mgmt import main as stage2
from project2_user_mgmt.routes import messages, users
from project3_rag_docs import main as stage3
from project3_rag_docs.routes import answers, documents
from project4_agent_api import bootstrap
from project4_agent_api.accounts import routes as accounts
from project4_agent_api.accounts import webhook_secret
from project4_agent_api.accounts.guards import Authenticated, Public
from project4_agent_api.assistants import routes as assistants
from project4_agent_api.bootstrap import LoadGraphs
from project4_agent_api.core.idempotency import describe
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.requests import CountRequests
from project4_agent_api.core.telemetry.tracing import create_tracing
from project4_agent_api.crons import routes as crons
from project4_agent_api.models import AccountRole
from project4_agent_api.operations import routes as operations
from project4_agent_api.runs import routes as runs
from project4_agent_api.settings import Settings
from project4_agent_api.store import routes as store
from project4_agent_api.streams import routes as streams
from project4_agent_api.streams.protocol import routes as protocol
from project4_agent_api.threads import routes as threads
from shared import health
from shared.app import build_app
from shared.frontend import Panel
from shared.settings import load_settings

ROUTERS = [
    health.router,
    Public(accounts.router),
    Authenticated(accounts.own_router, accounts.api_key_router, webhook_secret.router),
    Authenticated(ask.router),
    Authenticated(users.router, messages.router, role=AccountRole.ADMIN),
    Authenticated(documents.router, answers.router),
    Authenticated(assistants.router),
    Authenticated(threads.router),
    Authenticated(runs.router),
    Authenticated(streams.router),
    Authenticated(protocol.router),
    protocol.sockets,
    Authenticated(store.router),
    Authenticated(crons.router),
    operations.router,
    operations.metrics_router,
]
_STUDIO = "https://smith.langchain.com"  # LangGraph's user interface, which calls the developer's machine
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


def create_app(settings: Settings | None = None, load_graphs: LoadGraphs = bootstrap.load_graphs) -> FastAPI:
    """Make the application of stage 4."""
    settings = settings or load_settings(Settings)
    metrics = Metrics()
    tracing = create_tracing(settings, "agent-api")
    app = build_app(
        settings,
        title="Project 4: agents",
        description="Stages 1 to 3 behind accounts, and LangGraph agents with durable runs.",
        routers=ROUTERS,
        resources=[
            tracing.running,
            *bootstrap.EARLIER_RESOURCES,
            partial(bootstrap.open_api, metrics=metrics, tracing=tracing, graphs=load_graphs),
        ],
        panels=[ACCOUNT_PANEL, *LOCKED_PANELS] if settings.auth_required else OPEN_PANELS,
        body_limits={documents.PATH: settings.max_upload_bytes + stage3.FORM_OVERHEAD_BYTES},
        development_origins=[_STUDIO],
        extend_openapi=describe,
        guard_docs=Public,
    )
    app.add_middleware(CountRequests, metrics=metrics)
    tracing.trace_requests(app)
    return app
