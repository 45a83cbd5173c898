"""Chapter 4.3: runs and workers. `make run-project4 CHAPTER=runs` runs it, with a worker.

Runs replace the chat. The API stores a run and answers at once; a worker, a process of its own, claims and executes it,
and its events reach any client through Redis.
"""

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project4_agent_api.accounts.guards import Authenticated, xray_access
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters import threads as chapter4_2
from project4_agent_api.chapters.accounts import PANELS
from project4_agent_api.core.idempotency import describe
from project4_agent_api.runs import routes as runs
from shared.app import build_app
from shared.serve import serve

ROUTERS = [*chapter4_2.ROUTERS, Authenticated(runs.router)]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 4.2 with runs instead of the chat."""
    return build_app(
        settings,
        title="Project 4, chapter 4.3: runs and workers",
        description="Durable runs of graphs, executed by workers.",
        routers=ROUTERS,
        resources=chapter4_1.resources(),
        panels=PANELS if settings.auth_required else stage3.PANELS,
        xray_access=xray_access(auth_required=settings.auth_required),
        body_limits=stage3.body_limits(settings),
        extend_openapi=describe,
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
