"""Add the X-ray to an application. Imported only where `XRAY_ENABLED` is true."""

from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import TracerProvider

from shared.frontend import Panel
from shared.settings import Settings
from shared.xray import routes
from shared.xray.access import Access, Xray
from shared.xray.recorder import Recorder
from shared.xray.rows import Buffer
from shared.xray.seams import record_libraries
from shared.xray.sources import ROOT, Links
from shared.xray.web import is_left_out, record_requests

_SITE, _SITE_PATH = ROOT / "site", "/xray/course"
PANEL = Panel(Path(__file__).parents[1] / "page" / "xray.js")


def create_xray(settings: Settings, access: Access) -> Xray:
    """Create the X-ray of a process."""
    buffer = Buffer()
    site = "xray/course" if _SITE.is_dir() else ""
    return Xray(
        recorder=Recorder(buffer.add),
        buffer=buffer,
        links=Links(settings.xray_editor_url, site),
        access=access,
        control_socket=settings.xray_control,
    )


def telemetry_for(provider: TracerProvider) -> TelemetryConfig:
    """Return the configuration with which FastAPI records requests, handlers and background tasks."""
    return {
        "tracer_provider": provider,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": is_left_out,
    }


def install_xray(app: FastAPI, xray: Xray) -> None:
    """Record an app's requests, and what its libraries do for them."""
    record_libraries(xray.recorder)
    record_requests(app, xray.recorder, xray.buffer)


def serve_xray(app: FastAPI, access: Access) -> Panel:
    """Serve the routes of the X-ray and the built site of the course; return the panel for the page."""
    app.include_router(access.guard(routes.router))
    if _SITE.is_dir():
        app.mount(_SITE_PATH, StaticFiles(directory=_SITE, html=True))
    return replace(PANEL, audience=access.audience)
