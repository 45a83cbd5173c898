"""The page at `/` and Swagger UI at `/docs`, without a CDN.

The page is a shell (`shared/page/`) with a panel for each feature of a stage.
"""

import html
import importlib.resources
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
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
        audience: Name of the users who see the panel, as another panel announces them; empty for everyone. It hides
            controls whose routes refuse other users anyway, and is no access control.
    """

    module: Path
    audience: str = ""

    def url(self) -> str:
        """Return the module's URL, with the audience as its fragment, where the page reads it."""
        return f"page/{self.module.parent.parent.name}/{self.module.name}" + (self.audience and f"#{self.audience}")


def install_page(app: FastAPI, panels: Sequence[Panel]) -> None:
    """Serve the page at `/` with the panels in this order, and its files under `/page/`."""
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


_DOCS_HEADERS = {
    "Content-Security-Policy": "base-uri 'none'; frame-ancestors 'none'",  # Swagger UI has inline scripts and styles
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def install_docs(app: FastAPI, guard: Callable[[APIRouter], APIRouter]) -> None:
    """Serve the OpenAPI document, and Swagger UI at `/docs` from the fastapi-swagger wheel, without a CDN.

    Args:
        guard: Wraps the two routes, such as with a rate limit.
    """
    page = get_swagger_ui_html(
        title=app.title,
        openapi_url="openapi.json",  # all relative: a proxy may serve the app under a prefix
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="docs/files/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )
    page.headers.update(_DOCS_HEADERS)
    router = APIRouter(include_in_schema=False)
    encoded: list[tuple[bytes, str]] = []  # encoded by the first request, which takes as long as a hundred others

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return page

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        if not encoded:
            document = json.dumps(request.app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()
            encoded.append((document, f'"{sha256(document).hexdigest()[:32]}"'))
        document, tag = encoded[0]
        headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff"}
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(document, media_type="application/json", headers=headers)

    app.include_router(guard(router))
    app.mount("/docs/files", StaticFiles(directory=str(importlib.resources.files("fastapi_swagger") / "resources")))
