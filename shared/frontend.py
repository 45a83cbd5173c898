"""What a browser is served: the page at `/`, and Swagger UI at `/docs`. Both work without any other host.

The page is one shell (`shared/page/`), and a panel from each stage for what that stage adds.
"""

import html
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_SHELL = Path(__file__).parent / "page"
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Panel:
    """A part of the page.

    Attributes:
        module: `STAGE/page/NAME.js`.
        audience: Who it is shown to: those whom another panel admits by this name; everyone, if it is empty. It keeps
            from view what would be refused; what is refused is up to the routes.
    """

    module: Path
    audience: str = ""

    def url(self) -> str:
        """Where the module is served, with the audience as the page reads it."""
        return f"page/{self.module.parent.parent.name}/{self.module.name}" + (self.audience and f"#{self.audience}")


def install_page(app: FastAPI, panels: Sequence[Panel]) -> None:
    """Serve the page at `/`, and its files under `/page/`.

    Args:
        app: Gives the page its title.
        panels: In the order in which they are shown.
    """
    urls = [panel.url() for panel in panels]
    page = (
        (_SHELL / "index.html")
        .read_text(encoding="utf-8")
        .replace("{{title}}", html.escape(app.title))
        .replace("{{panels}}", html.escape(" ".join(urls)))
    )

    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)

    app.get("/", include_in_schema=False)(index)
    app.mount("/page/shared", StaticFiles(directory=_SHELL))
    for folder in {panel.module.parent for panel in panels}:
        app.mount(f"/page/{folder.parent.name}", StaticFiles(directory=folder))


def install_docs(app: FastAPI) -> None:
    """Serve Swagger UI at `/docs`, from the files in the fastapi-swagger wheel. FastAPI's own page needs a CDN."""
    page = get_swagger_ui_html(
        title=app.title,
        openapi_url="openapi.json",  # relative, as all of these: a proxy may serve the app under a prefix
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="docs/files/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )

    async def docs() -> HTMLResponse:
        return page

    app.get("/docs", include_in_schema=False)(docs)
    app.mount("/docs/files", StaticFiles(directory=str(importlib.resources.files("fastapi_swagger") / "resources")))
