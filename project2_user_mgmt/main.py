"""Stage 2: stage 1, and users with their messages. `make run-project2` runs it."""

from pathlib import Path

from fastapi import FastAPI

from project1_qa_api import main as stage1
from project2_user_mgmt.hooks import user_hooks
from project2_user_mgmt.routes import messages, users
from project2_user_mgmt.settings import Settings
from shared.app import build_app
from shared.database.engine import database
from shared.frontend import Panel
from shared.settings import load_settings
from shared.xray.access import EVERYONE

ROUTERS = [
    *stage1.ROUTERS,
    users.router,
    messages.router,
]
RESOURCES = [
    *stage1.RESOURCES,
    database,
    user_hooks,
]
PANEL = Panel(Path(__file__).parent / "page" / "users.js")
PANELS = [
    *stage1.PANELS,
    PANEL,
]


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application of stage 2."""
    return build_app(
        settings or load_settings(Settings),
        title="Project 2: user management",
        description="Stage 1, and users with their conversations, on PostgreSQL.",
        routers=ROUTERS,
        resources=RESOURCES,
        panels=PANELS,
        xray_access=EVERYONE,
    )
