"""The page at `/` and Swagger UI at `/docs`, without a CDN.

The page is a shell (`shared/page/`) with a panel for each feature of a stage. Many panels are grouped into views.
"""

import asyncio
import html
import importlib.resources
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_SHELL = Path(__file__).parent / "page"
_INDEX = (_SHELL / "index.html").read_text(encoding="utf-8")
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class View:
    """Panels that are shown together, at the address `#/NAME` of the page, with a link in both languages."""

    name: str
    english: str
    chinese: str

    def link(self) -> str:
        """Return its item of the navigation."""
        texts = f'data-en="{html.escape(self.english)}" data-zh="{html.escape(self.chinese)}"'
        return f'<li hidden><a href="#/{self.name}" {texts}>{html.escape(self.english)}</a></li>'


@dataclass(frozen=True)
class Panel:
    """A part of the page.

    Attributes:
        module: `STAGE/page/NAME.js`.
        audience: Name of the users who see the panel, as another panel announces them; empty for everyone. It hides
            controls whose routes refuse other users anyway, and is no access control.
        view: The view in which it is shown; None for every view. A page without views is one page of panels.
    """

    module: Path
    audience: str = ""
    view: View | None = None

    def section(self) -> str:
        """Return its element, which the page shows and fills."""
        url = f"page/{self.module.parent.parent.name}/{self.module.name}"
        address = self.view.name if self.view else self.module.stem
        data = {"module": url, "audience": self.audience, "address": address}
        attributes = " ".join(f'data-{name}="{html.escape(value)}"' for name, value in data.items())
        return f'<section class="panel" {attributes} hidden></section>'


def page_response(app: FastAPI, panels: Sequence[Panel], status_code: int = 200) -> HTMLResponse:
    """Return the page with other panels, for another path without a slash in it, whose files `install_page` serves."""
    return HTMLResponse(_render(app.title, panels), status_code, _HEADERS)


def install_page(app: FastAPI, panels: Sequence[Panel]) -> None:
    """Serve the page at `/` with the panels and their views in this order, and its files under `/page/`."""
    page = _render(app.title, panels)

    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)

    app.get("/", include_in_schema=False)(index)
    app.mount("/page/shared", StaticFiles(directory=_SHELL))
    for folder in {panel.module.parent for panel in panels}:
        app.mount(f"/page/{folder.parent.name}", StaticFiles(directory=folder))


def _render(title: str, panels: Sequence[Panel]) -> str:
    views = dict.fromkeys(panel.view for panel in panels if panel.view)
    return (
        _INDEX.replace("{{title}}", html.escape(title))
        .replace("{{views}}", "".join(view.link() for view in views))
        .replace("{{panels}}", "".join(panel.section() for panel in panels))
    )


_DOCS_HEADERS = {
    "Content-Security-Policy": "base-uri 'none'; frame-ancestors 'none'",  # Swagger UI has inline scripts and styles
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _encode_openapi(app: FastAPI) -> tuple[bytes, str]:
    """Return the OpenAPI document and its `ETag`."""
    document = json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()
    return document, f'"{sha256(document).hexdigest()[:32]}"'


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
    encoded: list[tuple[bytes, str]] = []
    encoding = asyncio.Lock()

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return page

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        async with encoding:
            if not encoded:  # in a thread: the first request takes as long as a hundred others
                encoded.append(await run_in_threadpool(_encode_openapi, request.app))
        document, tag = encoded[0]
        headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff"}
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(document, media_type="application/json", headers=headers)

    app.include_router(guard(router))
    app.mount("/docs/files", StaticFiles(directory=str(importlib.resources.files("fastapi_swagger") / "resources")))
