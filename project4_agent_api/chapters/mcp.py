"""Chapter 5.3: MCP and A2A. `make run-project4 CHAPTER=mcp` runs it, with a worker.

Assistants as tools of another model's client (MCP), which signs in through a browser (OAuth), and as agents that other
agents call (A2A).
"""

from fastapi import APIRouter, FastAPI

from project4_agent_api import bootstrap
from project4_agent_api.accounts.guards import Authenticated, Public
from project4_agent_api.accounts.oauth import account_routes, consent
from project4_agent_api.accounts.oauth import errors as oauth_errors
from project4_agent_api.accounts.oauth import routes as oauth
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters import openai as chapter5_2
from project4_agent_api.chapters.streams import panels
from project4_agent_api.wires.a2a import routes as a2a
from project4_agent_api.wires.mcp import routes as mcp
from shared.serve import serve

_OAUTH_ROUTERS = [
    Public(oauth.router, oauth.metadata_router, consent.page_router),
    Authenticated(consent.router, account_routes.router),
]
_ROUTERS = [
    *chapter5_2.ROUTERS,
    mcp.ProtectedResource(mcp.router),
    Public(mcp.metadata_router),
    Authenticated(a2a.router),
    Public(a2a.card_router),
]
ERROR_FORMS = {**chapter5_2.ERROR_FORMS, f"{oauth.PREFIX}/": oauth_errors.error_response}


def routers(settings: ChapterSettings, project_auth: ProjectAuth | None) -> list[APIRouter]:
    """Return the routers of this chapter; those of OAuth only if programs may sign in through a browser."""
    return [*_ROUTERS, *(_OAUTH_ROUTERS if bootstrap.offers_oauth(settings, project_auth) else [])]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 5.2 with MCP and A2A."""
    app = chapter4_1.build_chapter(
        settings,
        "5.3: MCP and A2A",
        "Assistants as tools of MCP and as agents of A2A.",
        routers=routers(settings, None),
        panels=panels(settings),
        body_limits=oauth.BODY_LIMITS,
    )
    app.state.error_forms = ERROR_FORMS
    return app


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
