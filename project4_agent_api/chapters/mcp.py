"""Chapter 5.3: MCP and A2A. `make run-project4 CHAPTER=mcp` runs it, with a worker.

Assistants as tools of another model's client (MCP), and as agents that other agents call (A2A).
"""

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project4_agent_api.accounts.guards import Authenticated, Public, xray_access
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters.openai import ERROR_FORMS
from project4_agent_api.chapters.openai import ROUTERS as OPENAI
from project4_agent_api.chapters.streams import PANELS
from project4_agent_api.core.idempotency import describe
from project4_agent_api.wires import a2a, mcp
from shared.app import build_app
from shared.serve import serve

ROUTERS = [
    *OPENAI,
    mcp.ProtectedResource(mcp.router),
    Public(mcp.metadata_router),
    Authenticated(a2a.router),
    Public(a2a.card_router),
]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 5.2 with MCP and A2A."""
    app = build_app(
        settings,
        title="Project 4, chapter 5.3: MCP and A2A",
        description="Assistants as tools of MCP and as agents of A2A.",
        routers=ROUTERS,
        resources=chapter4_1.resources(),
        panels=PANELS if settings.auth_required else stage3.PANELS,
        xray_access=xray_access(auth_required=settings.auth_required),
        body_limits=stage3.body_limits(settings),
        extend_openapi=describe,
    )
    app.state.error_forms = ERROR_FORMS
    return app


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
