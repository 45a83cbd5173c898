"""Stage 4, put together: stage 3 behind accounts, and agents with durable runs. `make run-project4` runs it."""

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project3_rag_docs.routes import documents
from project4_agent_api.settings import Settings
from shared.app import build_app
from shared.redis import redis
from shared.settings import load_settings

ROUTERS = [
    *stage3.ROUTERS,
]
RESOURCES = [
    *stage3.RESOURCES,
    redis,
]
PANELS = [
    *stage3.PANELS,
]


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application of stage 4."""
    settings = settings or load_settings(Settings)
    return build_app(
        settings,
        title="Project 4: agents",
        description="Stages 1 to 3 behind accounts, and LangGraph agents with durable runs.",
        routers=ROUTERS,
        resources=RESOURCES,
        panels=PANELS,
        body_limits={documents.PATH: settings.max_upload_bytes + stage3.FORM_BYTES},
    )
