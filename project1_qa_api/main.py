"""Stage 1: question answering. Start reading here; `make run-project1` runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from project1_qa_api.history import MemoryHistory
from project1_qa_api.routes import ask
from project1_qa_api.settings import Settings
from shared import health
from shared.app import build_app
from shared.frontend import Panel
from shared.health import Check
from shared.models.chat import create_chat_model
from shared.models.client import create_http_client, endpoint_reachable
from shared.settings import load_settings
from shared.xray.access import EVERYONE

DESCRIPTION = "Ask a language model: complete, streamed and batched answers. Errors are `application/problem+json`."


@asynccontextmanager
async def chat_model(app: FastAPI) -> AsyncIterator[None]:
    """Open the HTTP client of the model endpoint, and create the chat model."""
    settings: Settings = app.state.settings
    async with create_http_client(settings) as http:
        app.state.model_http = http
        app.state.chat_model = create_chat_model(settings, http)
        app.state.checks.append(Check("model", lambda: endpoint_reachable(settings, http), required=False))
        yield


@asynccontextmanager
async def memory_history(app: FastAPI) -> AsyncIterator[None]:
    """Keep the last exchanges in memory."""
    app.state.history = MemoryHistory(app.state.settings.history_size)
    yield


ROUTERS = [
    health.router,
    ask.router,
]
RESOURCES = [
    chat_model,
    memory_history,
]
PANEL = Panel(Path(__file__).parent / "page" / "ask.js")
PANELS = [
    PANEL,
]


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application of stage 1."""
    return build_app(
        settings or load_settings(Settings),
        title="Project 1: question answering",
        description=DESCRIPTION,
        routers=ROUTERS,
        resources=RESOURCES,
        panels=PANELS,
        xray_access=EVERYONE,
    )
