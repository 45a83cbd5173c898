"""The UI components of a project (`ui`): JavaScript and CSS that LangGraph's bundler has built, for its React client.

The client asks for a component by name, and inserts the answer into its page. The files are read at each request, so
that those of the bundler's `watch` are live. This service does not run the bundler.
"""

import html
import json
import re
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel

from project4_agent_api.accounts.guards import Authenticated, Public
from project4_agent_api.graphs.langgraph_json import Project
from project4_agent_api.graphs.project_file import BUILT_UI
from shared.errors import NotFound

_FILE = "ui_file"  # name of the route


class ComponentName(BaseModel):
    """The component that a client shows."""

    name: str


def create_routers(project: Project | None) -> list[APIRouter]:
    """Return the routes of a project's components, if it has any."""
    if project is None or not project.file.ui or project.file.http.disable_ui:
        return []
    folder = project.path.resolve().parent / BUILT_UI
    components, files = APIRouter(tags=["ui"]), APIRouter(tags=["ui"])

    @components.post("/ui/{graph_id}", response_class=HTMLResponse)
    def load_component(graph_id: str, component: ComponentName, request: Request) -> HTMLResponse:
        """Return the tags that load and render a component; the client replaces `{{shadowRootId}}`."""
        return HTMLResponse("\n".join(_tag(request, graph_id, asset, component) for asset in _assets(folder, graph_id)))

    @files.get("/ui/{graph_id}/{file_name}", name=_FILE, response_class=FileResponse)
    def read_file(graph_id: str, file_name: str) -> FileResponse:
        """Return a file that the tags name. Browsers load it without credentials."""
        if file_name not in _assets(folder, graph_id):
            raise NotFound(f"The components of {graph_id!r} have no file {file_name!r}.")
        return FileResponse(folder / "public" / graph_id / file_name, headers={"Cache-Control": "no-cache"})

    return [Authenticated(components), Public(files)]


def _assets(folder: Path, graph_id: str) -> list[str]:
    """Return the names of a graph's files, which the bundler has listed.

    Raises:
        NotFound: if it has built none.
    """
    try:
        schemas = json.loads((folder / "schemas.json").read_bytes())
    except (OSError, ValueError):  # the bundler is writing it
        schemas = {}
    if graph_id not in schemas:
        raise NotFound(f"No components are built for {graph_id!r}.")
    return [Path(asset).name for asset in schemas[graph_id]["assets"]]


def _tag(request: Request, graph_id: str, file_name: str, component: ComponentName) -> str:
    url = request.url_for(_FILE, graph_id=quote(graph_id, safe=""), file_name=quote(file_name, safe=""))
    address = html.escape(str(url))  # absolute: the page is another site's
    if file_name.endswith(".css"):
        return f'<link rel="stylesheet" href="{address}" />'
    bundle = "__LGUI_" + re.sub(r"[^a-zA-Z0-9]", "_", graph_id)  # the variable that the bundler's script sets
    name = html.escape(json.dumps(component.name))
    return f'<script src="{address}" onload=\'{bundle}.render({name}, "{{{{shadowRootId}}}}")\'></script>'
