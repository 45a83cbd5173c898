"""A project with an application of its own: routes, lifespan, middleware, CORS, headers and a prefix."""

import json
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from project4_agent_api.graphs.project_file import BUILT_UI
from tests.langgraph_projects.conftest import PROJECTS, ServeProject

PREFIX = "/my-deployment/api"


@pytest.fixture(scope="module")
def url(serve_project: ServeProject) -> Iterator[str]:
    with serve_project("own_routes", auth_required=False) as url:
        yield url


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url + PREFIX, timeout=60, trust_env=False) as http:
        yield http


async def test_own_routes_have_their_lifespan_middleware_and_error_handlers(http: httpx2.AsyncClient) -> None:
    hello = await http.get("/hello")
    assert hello.json() == {"greeting": "hello from the lifespan", "opened": True}
    assert hello.headers["X-Stamp"] == "own middleware"
    assert "X-Request-ID" in hello.headers
    assert (await http.post("/double", json={"number": 4})).json() == {"number": 8}
    assert (await http.post("/double", json={"number": "x"})).status_code == 422
    teapot = await http.get("/teapot")
    assert (teapot.status_code, teapot.json()) == (418, {"nothing": f"{PREFIX}/teapot"})
    assert (await http.get("/denied")).json() == {"detail": "Not here."}
    assert (await http.get("/info")).json() == {"mine": True}
    assert (await http.get("/double")).status_code in (404, 405)


async def test_own_middleware_wraps_langgraphs_routes(http: httpx2.AsyncClient) -> None:
    created = await http.post("/threads", json={})
    assert created.status_code == 200
    assert created.headers["X-Stamp"] == "own middleware"
    assert (await http.post("/threads", json={}, headers={"X-Block": "1"})).status_code == 451


async def test_own_middleware_is_there_for_each_application_of_a_process(url: str, serve_project: ServeProject) -> None:
    with serve_project("own_routes", worker=False, auth_required=False) as another:
        for address in (url, another):
            async with httpx2.AsyncClient(base_url=address + PREFIX, timeout=60, trust_env=False) as http:
                for path in ("/hello", "/assistants/search"):
                    response = await http.request("GET" if path == "/hello" else "POST", path, json={})
                    assert response.headers["X-Stamp"] == "own middleware", (address, path)


async def test_everything_is_below_the_prefix_but_the_probes(url: str, http: httpx2.AsyncClient) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as root:
        for path in ("/ok", "/health", "/ready"):
            assert (await root.get(path)).status_code == 200
        for path in ("/threads/search", "/hello", "/my-deployment/apiary/hello"):
            missing = await root.post(path, json={})
            assert (missing.status_code, missing.json()["type"]) == (404, "urn:problem:not-found")
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert {"/hello", "/double", "/threads"} <= paths.keys()
    assert not [path for path in paths if path.startswith("/store")]
    for path in ("/store/namespaces", "/mcp", "/a2a/agent"):
        assert (await http.post(path, json={})).status_code == 404, path


async def test_configured_headers_reach_the_graph(http: httpx2.AsyncClient) -> None:
    headers = {"X-Tenant": "red", "X-Secret-Thing": "no", "X-Api-Key": "no", "User-Agent": "me", "Cookie": "a=b"}
    answer = await http.post("/runs/wait", json={"assistant_id": "headers", "input": {}}, headers=headers)
    assert answer.json()["headers"] == {"x-tenant": "red", "user-agent": "me"}


async def test_cors_is_that_of_the_project(http: httpx2.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "POST"}
    allowed = await http.options("/threads", headers=asked | {"Origin": "https://app.example.com"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert allowed.headers["Access-Control-Max-Age"] == "5"
    refused = await http.options("/threads", headers=asked | {"Origin": "http://localhost:3000"})
    assert "Access-Control-Allow-Origin" not in refused.headers


async def test_sockets_have_the_prefix_and_the_origins_of_the_project(url: str) -> None:
    address = f"{url.replace('http', 'ws')}{PREFIX}/threads/{uuid.uuid4()}/stream/events"
    for origin in (None, "https://app.example.com"):
        async with connect(address, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]  # a NewType of str
            start = {"assistant_id": "headers", "input": {}}
            await socket.send(json.dumps({"id": 1, "method": "run.start", "params": start}))
            assert json.loads(await socket.recv())["type"] == "success"
    with pytest.raises(InvalidStatus):
        await connect(address, origin="http://localhost:3000", proxy=None)  # type: ignore[arg-type]  # a NewType of str


async def test_plain_text_is_read_as_json_from_the_origins_of_the_project(http: httpx2.AsyncClient) -> None:
    plain = {"Content-Type": "text/plain"}
    for origin, status in (("https://app.example.com", 200), ("http://localhost:3000", 400)):
        answer = await http.post("/threads", content=b"{}", headers=plain | {"Origin": origin})
        assert answer.status_code == status


async def test_built_ui_components_are_loaded_by_their_tags(url: str, http: httpx2.AsyncClient) -> None:
    tags = await http.post("/ui/headers", json={"name": "it's <b>"})
    assert tags.headers["content-type"].startswith("text/html")
    address = f"{url}{PREFIX}/ui/headers/entrypoint"
    onload = '__LGUI_headers.render(&quot;it&#x27;s &lt;b&gt;&quot;, "{{shadowRootId}}")'
    assert tags.text.splitlines() == [
        f"<script src=\"{address}.js\" onload='{onload}'></script>",
        f'<link rel="stylesheet" href="{address}.css" />',
    ]
    script = await http.get("/ui/headers/entrypoint.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cache-control"] == "no-cache"
    assert script.text.startswith("var __LGUI_headers")


@pytest.mark.parametrize("path", ["/ui/headers/schemas.json", "/ui/headers/..%2F..%2Fschemas.json", "/ui/other/a.js"])
async def test_ui_serves_no_other_files(http: httpx2.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


async def test_ui_component_of_a_graph_without_any_is_not_found(http: httpx2.AsyncClient) -> None:
    response = await http.post("/ui/other", json={"name": "a"})
    assert (response.status_code, response.json()["detail"]) == (404, "No components are built for 'other'.")


async def test_ui_component_is_not_found_while_it_is_being_built(serve_project: ServeProject, tmp_path: Path) -> None:
    copy = shutil.copytree(PROJECTS / "own_routes", tmp_path / "copy")
    (copy / BUILT_UI / "schemas.json").write_text('{"headers": {"assets"')
    with serve_project(str(copy), worker=False, auth_required=False) as url:
        async with httpx2.AsyncClient(base_url=url + PREFIX, timeout=60, trust_env=False) as http:
            response = await http.get("/ui/headers/entrypoint.js")
    assert response.status_code == 404
