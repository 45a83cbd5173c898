"""Chapter 5.2: OpenAI's API and AG-UI. `make run-project4 CHAPTER=openai` runs it, with a worker.

Other clients on the same runs: a run that OpenAI's client starts is one like any other, on a thread, under a lease.
"""

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project4_agent_api.accounts.guards import Authenticated, xray_access
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters.streams import PANELS
from project4_agent_api.chapters.streams import ROUTERS as STREAMS
from project4_agent_api.core.idempotency import describe
from project4_agent_api.wires.agui import routes as agui
from project4_agent_api.wires.openai import chat, conversations, errors, models, responses
from shared.app import build_app
from shared.serve import serve

ROUTERS = [
    *STREAMS,
    Authenticated(models.router, chat.router, responses.router, conversations.router),
    Authenticated(agui.router),
]
ERROR_FORMS = {"/v1/": errors.error_response}


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 5.1 with OpenAI's API and AG-UI."""
    app = build_app(
        settings,
        title="Project 4, chapter 5.2: OpenAI's API and AG-UI",
        description="Clients of OpenAI's API and of AG-UI on the service's runs.",
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
