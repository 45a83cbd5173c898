"""Stage 4, put together: stage 3 behind accounts, and agents with durable runs. `make run-project4` runs it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette

from project1_qa_api import main as stage1
from project1_qa_api.routes import ask
from project2_user_mgmt import main as stage2
from project2_user_mgmt.routes import messages, users
from project3_rag_docs import main as stage3
from project4_agent_api import bootstrap, project_http, project_ui
from project4_agent_api.accounts import collection_invitations, sharing, webhook_secret
from project4_agent_api.accounts import routes as accounts
from project4_agent_api.accounts.guards import Authenticated, Public, xray_access
from project4_agent_api.accounts.oauth import account_routes as oauth_grants
from project4_agent_api.accounts.oauth import consent
from project4_agent_api.accounts.oauth import errors as oauth_errors
from project4_agent_api.accounts.oauth import routes as oauth
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.assistants import routes as assistants
from project4_agent_api.bootstrap import LoadGraphs
from project4_agent_api.core.idempotency import describe
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.requests import CountRequests
from project4_agent_api.core.telemetry.tracing import create_tracing
from project4_agent_api.crons import routes as crons
from project4_agent_api.graphs.project_file import HttpPart
from project4_agent_api.models import AccountRole
from project4_agent_api.operations import routes as operations
from project4_agent_api.runs import feedback
from project4_agent_api.runs import routes as runs
from project4_agent_api.settings import Settings
from project4_agent_api.steps import routes as steps
from project4_agent_api.store import routes as store
from project4_agent_api.streams import routes as streams
from project4_agent_api.streams.protocol import routes as protocol
from project4_agent_api.threads import routes as threads
from project4_agent_api.wires.a2a import routes as a2a
from project4_agent_api.wires.agui import routes as agui
from project4_agent_api.wires.mcp import routes as mcp
from project4_agent_api.wires.openai import chat, errors, models, responses
from project4_agent_api.wires.openai import conversations as openai_conversations
from shared import health
from shared.app import build_app
from shared.frontend import Panel, View
from shared.settings import load_settings

# Left out if a project authenticates its users itself.
ACCOUNT_ROUTERS = [
    Public(accounts.router),
    Authenticated(accounts.own_router, accounts.api_key_router, sharing.router, collection_invitations.router),
]
ASSISTANT_ROUTERS = [Authenticated(assistants.router)]
THREAD_ROUTERS = [Authenticated(threads.router)]
RUN_ROUTERS = [
    Authenticated(runs.router),
    Authenticated(feedback.router),
    Authenticated(steps.router),
    Authenticated(webhook_secret.router),
    Authenticated(streams.router),
    Authenticated(protocol.router),
    protocol.sockets,
]
CRON_ROUTERS = [Authenticated(crons.router)]
STORE_ROUTERS = [Authenticated(store.router)]
OPENAI_ROUTERS = [Authenticated(models.router, chat.router, responses.router, openai_conversations.router)]
AG_UI_ROUTERS = [Authenticated(agui.router)]
MCP_ROUTERS = [mcp.ProtectedResource(mcp.router), Public(mcp.metadata_router)]
OAUTH_ROUTERS = [
    Public(oauth.router, oauth.metadata_router, consent.page_router),
    Authenticated(consent.router, oauth_grants.router),
]
A2A_ROUTERS = [Authenticated(a2a.router), Public(a2a.card_router)]
META_ROUTERS = [operations.router, operations.metrics_router]
ROUTERS = [
    health.router,
    *ACCOUNT_ROUTERS,
    Authenticated(ask.router),
    Authenticated(users.router, messages.router, accounts.admin_router, role=AccountRole.ADMIN),
    Authenticated(*stage3.DOCUMENT_ROUTERS),
    *ASSISTANT_ROUTERS,
    *THREAD_ROUTERS,
    *RUN_ROUTERS,
    *STORE_ROUTERS,
    *CRON_ROUTERS,
    *OPENAI_ROUTERS,
    *AG_UI_ROUTERS,
    *MCP_ROUTERS,
    *OAUTH_ROUTERS,
    *A2A_ROUTERS,
    *META_ROUTERS,
]
# LangChain's user interfaces, which call the developer's machine: Studio, the chat, the inbox of interrupted threads.
USER_INTERFACES = ["https://smith.langchain.com", "https://agentchat.vercel.app", "https://dev.agentinbox.ai"]
_PAGE = Path(__file__).parent / "page"
_CHAT = View("chat", "Chat", "对话")
_DOCUMENTS = View("documents", "Documents", "文档")
_RUNS = View("runs", "Runs", "运行")
_ACCOUNT = View("account", "Account", "账号")
_ADMINISTRATION = View("administration", "Administration", "管理")
ACCOUNT_PANEL = Panel(_PAGE / "account.js", view=_ACCOUNT)
PROGRAMS_PANEL = Panel(_PAGE / "account-programs.js", audience="users", view=_ACCOUNT)
ACCOUNT_PANELS = [
    ACCOUNT_PANEL,
    *(Panel(_PAGE / f"account-{name}.js", audience="users", view=_ACCOUNT) for name in ("usage", "keys")),
    PROGRAMS_PANEL,
    Panel(_PAGE / "account-security.js", audience="users", view=_ACCOUNT),
]
# Users sign in on the account panel, which then shows the panels of their audience.
PANELS = [
    Panel(_PAGE / "chat.js", audience="users", view=_CHAT),
    replace(stage3.PANEL, audience="users", view=_DOCUMENTS),
    replace(stage1.PANEL, audience="users", view=_DOCUMENTS),
    Panel(_PAGE / "runs.js", audience="users", view=_RUNS),
    *ACCOUNT_PANELS,
    replace(stage2.PANEL, audience="administrators", view=_ADMINISTRATION),
]
# With AUTH_REQUIRED=false every caller is one local user without an account.
OPEN_PANELS = [replace(panel, audience="") for panel in PANELS if panel not in ACCOUNT_PANELS]


def create_app(settings: Settings | None = None, load_graphs: LoadGraphs | None = None) -> FastAPI:
    """Make the application of stage 4.

    Raises:
        ConfigurationError: if the project's `langgraph.json` is refused.
    """
    settings = settings or load_settings(Settings)
    project = bootstrap.load_project(settings)
    project_auth = ProjectAuth.load(project, production=settings.production) if project else None
    http = project.file.http if project else HttpPart()
    project_app = project_http.load_app(project) if project else None
    with_oauth = bootstrap.offers_oauth(settings, project_auth) and not http.disable_mcp
    metrics = Metrics()
    tracing = create_tracing(settings, "agent-api")
    app = build_app(
        settings,
        title="Project 4: agents",
        description="Stages 1 to 3 behind accounts, and LangGraph agents with durable runs.",
        routers=[
            *_routers(http, with_accounts=project_auth is None, with_oauth=with_oauth),
            *project_ui.create_routers(project),
        ],
        resources=[
            tracing.running,
            *bootstrap.EARLIER_RESOURCES,
            partial(
                bootstrap.open_api,
                metrics=metrics,
                tracing=tracing,
                load_graphs=load_graphs,
                project=project,
                project_auth=project_auth,
            ),
            *([project_http.running(project_app)] if project_app else []),
        ],
        panels=[] if project_auth else _panels(settings, with_oauth=with_oauth),
        body_limits=stage3.body_limits(settings) | oauth.BODY_LIMITS,
        extend_openapi=lambda document: _extend_openapi(document, project_app),
        development_origins=USER_INTERFACES,
        guard_docs=Public,
        xray_access=None if project_auth else xray_access(auth_required=settings.auth_required),
    )
    app.state.error_forms = {"/v1/": errors.error_response, f"{oauth.PREFIX}/": oauth_errors.error_response}
    app.add_middleware(CountRequests, metrics=metrics)
    tracing.trace_requests(app)
    project_http.install(app, http, project_app)
    return app


def _routers(http: HttpPart, *, with_accounts: bool, with_oauth: bool) -> list[APIRouter]:
    """Return the routers, without those that a project leaves out or replaces."""
    left_out: list[APIRouter] = [] if with_accounts else list(ACCOUNT_ROUTERS)
    for disabled, routers in (
        (http.disable_assistants, ASSISTANT_ROUTERS),
        (http.disable_threads, THREAD_ROUTERS),
        (http.disable_runs, RUN_ROUTERS + CRON_ROUTERS + OPENAI_ROUTERS + AG_UI_ROUTERS),
        (http.disable_store, STORE_ROUTERS),
        (http.disable_meta, META_ROUTERS),
        (http.disable_mcp, MCP_ROUTERS),
        (not with_oauth, OAUTH_ROUTERS),
        (http.disable_a2a, A2A_ROUTERS),
    ):
        left_out += routers if disabled else []
    return [router for router in ROUTERS if router not in left_out]


def _panels(settings: Settings, *, with_oauth: bool) -> list[Panel]:
    if not settings.auth_required:
        return OPEN_PANELS
    return [panel for panel in PANELS if with_oauth or panel is not PROGRAMS_PANEL]


def _extend_openapi(document: dict[str, Any], project_app: Starlette | None) -> None:
    describe(document)
    project_http.extend_openapi(document, project_app)
