"""The guards: only listed operations are public, and no user reaches another user's data."""

import asyncio
import re
from collections.abc import Callable

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match, Mount, WebSocketRoute

from project4_agent_api.accounts.guards import Public
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from tests.project4_agent_api.conftest import Operate, Serve, SignUp
from tests.support.accounts import bearer, register, sign_in

OPEN = {
    "GET /",
    "GET /.well-known/agent-card.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/oauth-authorization-server/{root_path:path}",
    "GET /.well-known/oauth-protected-resource",
    "GET /.well-known/oauth-protected-resource/mcp",
    "GET /.well-known/openid-configuration",
    "GET /a2a/{assistant_id}/.well-known/agent-card.json",
    "GET /authorize",
    "GET /docs",
    "GET /health",
    "GET /info",
    "GET /metrics",
    "GET /ok",
    "GET /openapi.json",
    "GET /ready",
    "POST /auth/logout",
    "POST /auth/refresh",
    "POST /auth/register",
    "POST /auth/token",
    "POST /oauth/register",
    "POST /oauth/revoke",
    "POST /oauth/token",
}
SOCKETS = {"/threads/{thread_id}/stream/events"}  # every command on them is authenticated as a request
FILES = {"/page", "/docs/files"}  # scripts and styles, which are the same for everyone
AN_ID = "01a20c50-5b86-761b-bf50-fe632e4213db"


def mounted(settings: Settings) -> tuple[set[str], set[str], set[str]]:
    """Every operation of the app, in the OpenAPI document or not; mounted applications; and web sockets."""
    operations, mounts, sockets = set(), set(), set()
    for route in iter_route_contexts(create_app(settings).routes):
        if isinstance(route.original_route, Mount):
            mounts.add(str(route.path))
        elif isinstance(route.original_route, WebSocketRoute):
            sockets.add(str(route.path))
        else:
            assert route.methods, route.path
            operations |= {f"{method} {route.path}" for method in route.methods - {"HEAD"}}
    return operations, mounts, sockets


async def test_unlisted_routes_require_authentication(
    client4: httpx2.AsyncClient, make_settings4: Callable[..., Settings]
) -> None:
    operations, mounts, sockets = mounted(make_settings4())
    assert len(operations) > 40
    locked = sorted(operations - OPEN)

    answers = {}
    for operation in locked:
        method, path = operation.split(" ")
        answers[operation] = (await client4.request(method, re.sub("{[^}]*}", AN_ID, path))).status_code

    assert answers == dict.fromkeys(locked, 401)
    assert {mount for mount in mounts if not mount.startswith(tuple(FILES))} == set()
    assert sockets == SOCKETS


@pytest.mark.parametrize(
    ("root_path", "path", "match"),
    [
        ("", "/assistants", Match.FULL),
        ("/api", "/api/assistants", Match.FULL),
        ("/api", "/assistants", Match.FULL),  # the proxy has removed the prefix
        ("/a", "/assistants", Match.FULL),
        ("/api", "/api/other", Match.NONE),
    ],
)
def test_path_below_a_root_path_is_found(root_path: str, path: str, match: Match) -> None:
    routes = APIRouter(prefix="/assistants")
    routes.add_api_route("", lambda: None)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(Public(routes))
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root_path, "headers": []}

    assert [route.matches(scope)[0] for route in app.routes] == [match]


async def test_openapi_document_declares_the_authentication(client4: httpx2.AsyncClient) -> None:
    document = (await client4.get("/openapi.json")).json()

    for path, item in document["paths"].items():
        for method, operation in item.items():
            key = f"{method.upper()} {path}"
            assert operation.get("security") == (None if key in OPEN else [{"Token": []}, {"ApiKey": []}]), key
            assert key in OPEN or "401" in operation["responses"], key


async def test_unauthenticated_request_is_rejected_before_its_body(client4: httpx2.AsyncClient) -> None:
    url = client4.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /documents HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 1000000\r\n\r\n--x\r\n"
    )

    async with asyncio.timeout(120):
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"

    writer.close()
    await writer.wait_closed()
    unreadable = await client4.post("/ask", content=b"{", headers={"Content-Type": "application/json"})
    assert unreadable.status_code == 401


async def test_users_api_requires_an_administrator(
    client4: httpx2.AsyncClient, sign_up: SignUp, operate: Operate
) -> None:
    ada = await sign_up("ada@example.com")
    bob = await register(client4, "bob@example.com")
    operations = [
        ("GET", "/users"),
        ("GET", f"/users/{bob['id']}"),
        ("PATCH", f"/users/{bob['id']}"),
        ("GET", f"/users/{bob['id']}/messages"),
        ("DELETE", f"/users/{bob['id']}"),
    ]

    async def ask(method: str, path: str) -> httpx2.Response:
        body = {"name": "Robert"} if method == "PATCH" else None
        return await client4.request(method, path, headers=ada, json=body)

    for method, path in operations:
        answer = await ask(method, path)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:problem:forbidden")

    operate("set-role", "ada@example.com", "admin")
    for method, path in operations:
        answer = await ask(method, path)
        assert answer.is_success, (method, path)

    operate("set-role", "ada@example.com", "user")
    assert (await client4.get("/users", headers=ada)).status_code == 403


async def test_password_change_by_an_administrator_ends_sign_ins(
    client4: httpx2.AsyncClient, sign_up: SignUp, operate: Operate
) -> None:
    admin = await sign_up("ada@example.com")
    operate("set-role", "ada@example.com", "admin")
    bob = await register(client4, "bob@example.com")
    bobs = await sign_in(client4, "bob@example.com")

    changed = await client4.patch(f"/users/{bob['id']}", json={"password": "a new password"}, headers=admin)

    assert changed.status_code == 200
    assert (await client4.get("/auth/me", headers=bearer(bobs))).status_code == 401
    again = await client4.post("/auth/refresh", json={"refresh_token": bobs["refresh_token"]})
    assert again.status_code == 401
    await sign_in(client4, "bob@example.com", "a new password")


async def test_documents_are_private_to_their_account(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    files = {"file": ("hours.txt", b"The library opens at nine.\n")}
    mine = (await client4.post("/documents", files=files, headers=ada)).json()

    assert (await client4.get("/documents", headers=bob)).json()["items"] == []
    unknown = await client4.get(f"/documents/{AN_ID}", headers=bob)
    for method, path in [
        ("GET", ""),
        ("GET", "/chunks"),
        ("GET", "/file"),
        ("GET", "/events"),
        ("DELETE", ""),
    ]:
        answer = await client4.request(method, f"/documents/{mine['id']}{path}", headers=bob)
        assert answer.status_code == 404
        assert answer.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert (await client4.get(f"/documents/{mine['id']}", headers=ada)).status_code == 200
    theirs = await client4.post("/documents", files=files, headers=bob)
    assert (theirs.status_code, theirs.json()["id"] != mine["id"]) == (202, True)


async def test_key_and_token_identify_the_same_account(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    key = {"x-api-key": (await client4.post("/auth/api-keys", json={"name": "job"}, headers=ada)).json()["key"]}

    assert (await client4.get("/auth/me", headers=key)).json()["email"] == "ada@example.com"
    both = await client4.get("/auth/me", headers=bob | key)
    assert both.json()["email"] == "bob@example.com"
    wrong = await client4.get("/auth/me", headers={"Authorization": "Bearer x"} | key)
    assert wrong.status_code == 401


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_cors_allows_both_authentication_headers(serve4: Serve, header: str) -> None:
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": f"content-type,{header}",
    }
    with serve4(cors_origins="https://app.example.com") as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            allowed = await client.options("/documents", headers={"Origin": "https://app.example.com"} | asks)
            other = await client.options("/documents", headers={"Origin": "https://evil.example.com"} | asks)
            refused = await client.get("/documents", headers={"Origin": "https://app.example.com"})

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert header in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in other.headers
    # A page can read why it was refused.
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_without_accounts_every_caller_is_the_local_user(serve4: Serve) -> None:
    with serve4(auth_required=False) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            uploaded = await client.post("/documents", files={"file": ("a.txt", b"The library opens at nine.\n")})
            users = await client.get("/users")
            own = await client.get("/auth/me", headers={"Authorization": "Bearer whatever"})

    assert (uploaded.status_code, users.status_code) == (202, 200)
    assert (own.status_code, own.json()["detail"]) == (
        404,
        "There are no accounts: AUTH_REQUIRED is false, and everyone is one local user.",
    )
