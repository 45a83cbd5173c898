"""Signing in to MCP through a browser: the official client's whole dance, and attacks on it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.support.agent_service import PASSWORD, AgentService
from tests.support.oauth import (
    CALLBACK,
    CHALLENGE,
    VERIFIER,
    Browser,
    Memory,
    allowed_code,
    exchange,
    official_client,
    parameters,
    query,
)

pytestmark = pytest.mark.slow

MCP_HEADERS = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
async def http(service: AgentService) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=service.url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def client_id(service: AgentService) -> str:
    """A registered client."""
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False) as http:
        answer = http.post("/oauth/register", json={"client_name": "Mine", "redirect_uris": [CALLBACK]})
    assert answer.status_code == 201, answer.text
    registered: str = answer.json()["client_id"]
    return registered


async def test_official_client_signs_in_through_a_browser(
    service: AgentService, http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    storage = Memory()
    provider = official_client(service.url, Browser(http, headers), storage)
    async with (
        httpx.AsyncClient(auth=provider, timeout=120) as authenticated,
        streamable_http_client(f"{service.url}/mcp", http_client=authenticated) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        names = {tool.name for tool in (await session.list_tools()).tools}
        result = await session.call_tool("talk", {"message": "hello"})

    assert {"talk", "search_documents"} <= names
    assert result.structuredContent is not None
    assert result.structuredContent["answer"] == "1: hello"
    assert storage.tokens is not None
    assert storage.tokens.scope == "assistants documents"


async def granted(http: httpx2.AsyncClient, headers: dict[str, str], client_id: str, **changes: str) -> dict[str, Any]:
    """Return the tokens of a client whose request the user allows."""
    answer = await exchange(http, client_id, await allowed_code(http, headers, client_id, **changes))
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def refresh(http: httpx2.AsyncClient, client_id: str, token: str, **changes: str) -> httpx2.Response:
    """Rotate a refresh token."""
    form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": token}
    return await http.post("/oauth/token", data={**form, **changes})


async def call(
    http: httpx2.AsyncClient, tokens: dict[str, Any], method: str = "tools/list", **params: Any
) -> httpx2.Response:
    """Send a request of MCP with an access token."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    return await http.post("/mcp", json=message, headers={**MCP_HEADERS, **bearer})


def error_of(answer: httpx2.Response, status: int = 400) -> str:
    """Return the code of an error in OAuth's form."""
    assert answer.status_code == status, answer.text
    code: str = answer.json()["error"]
    return code


async def test_metadata_leads_from_a_refusal_to_the_endpoints(service: AgentService, http: httpx2.AsyncClient) -> None:
    refused = await http.post("/mcp", json={})
    resource = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
    server = (await http.get("/.well-known/oauth-authorization-server")).json()

    assert refused.status_code == 401
    assert (
        f'resource_metadata="{service.url}/.well-known/oauth-protected-resource/mcp"'
        in (refused.headers["www-authenticate"])
    )
    assert 'scope="assistants documents"' in refused.headers["www-authenticate"]
    assert resource["resource"] == f"{service.url}/mcp"
    assert resource["authorization_servers"] == [server["issuer"]] == [service.url]
    assert server["code_challenge_methods_supported"] == ["S256"]


async def test_tokens_are_for_mcp_only(http: httpx2.AsyncClient, headers: dict[str, str], client_id: str) -> None:
    tokens = await granted(http, headers, client_id)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    assert (await call(http, tokens)).status_code == 200  # and is cached
    for method, path in [
        ("GET", "/auth/me"),
        ("GET", "/auth/grants"),
        ("POST", "/auth/api-keys"),
        ("POST", "/auth/consent"),
        ("POST", "/threads/search"),
        ("GET", "/v1/models"),
    ]:
        answer = await http.request(method, path, headers=bearer, json={})
        assert answer.status_code == 401, (path, answer.text)
    raw = {"Authorization": f"Bearer {tokens['access_token'].removeprefix('mcp_')}"}
    assert (await http.get("/auth/me", headers=raw)).status_code == 401
    assert (await refresh(http, client_id, tokens["refresh_token"])).status_code == 200
    assert (await http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).status_code == 401


async def test_sign_in_is_no_token_of_a_client(http: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    token = headers["Authorization"].removeprefix("Bearer ")

    assert (await call(http, {"access_token": f"mcp_{token}"})).status_code == 401


async def test_code_is_valid_once_and_its_replay_ends_the_grant(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    code = await allowed_code(http, headers, client_id)
    tokens = (await exchange(http, client_id, code)).json()
    assert (await call(http, tokens)).status_code == 200

    assert error_of(await exchange(http, client_id, code)) == "invalid_grant"
    assert (await call(http, tokens)).status_code == 401
    assert error_of(await refresh(http, client_id, tokens["refresh_token"])) == "invalid_grant"


async def test_code_needs_its_client_verifier_and_redirect_uri(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    code = await allowed_code(http, headers, client_id)
    other = (await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).json()["client_id"]

    for changes in (
        {"code_verifier": "x" * 48},
        {"code_verifier": CHALLENGE},
        {"code_verifier": ""},
        {"redirect_uri": "http://127.0.0.1:51234/other"},
        {"redirect_uri": "http://127.0.0.1:51235/callback"},
    ):
        assert error_of(await exchange(http, client_id, code, **changes)) == "invalid_grant", changes
    assert error_of(await exchange(http, client_id, code, resource="https://example.com/mcp")) == "invalid_target"
    assert error_of(await exchange(http, client_id, code, grant_type="password")) == "unsupported_grant_type"
    assert error_of(await exchange(http, other, code)) == "invalid_grant"
    assert error_of(await exchange(http, "nobody", code), 401) == "invalid_client"
    assert (await exchange(http, client_id, code)).status_code == 200


async def test_refresh_token_that_is_used_twice_ends_the_grant(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    first = await granted(http, headers, client_id)
    other = (await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).json()["client_id"]
    assert error_of(await refresh(http, other, first["refresh_token"])) == "invalid_grant"

    second = (await refresh(http, client_id, first["refresh_token"])).json()
    assert (await call(http, second)).status_code == 200
    assert error_of(await refresh(http, client_id, first["refresh_token"])) == "invalid_grant"
    assert (await call(http, second)).status_code == 401
    assert error_of(await refresh(http, client_id, second["refresh_token"])) == "invalid_grant"


async def test_other_process_serves_and_ends_a_grant(
    service: AgentService, http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    async with httpx2.AsyncClient(base_url=service.start_api(), timeout=120, trust_env=False) as second:
        tokens = (await exchange(second, client_id, await allowed_code(http, headers, client_id))).json()
        assert (await call(second, tokens)).status_code == 200
        assert (await call(http, tokens)).status_code == 200
        form = {"client_id": client_id, "token": tokens["refresh_token"]}
        assert (await second.post("/oauth/revoke", data=form)).status_code == 200

        assert (await call(http, tokens)).status_code == 401
        assert (await call(second, tokens)).status_code == 401


async def test_client_revokes_only_its_own_tokens(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    tokens = await granted(http, headers, client_id)
    other = (await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).json()["client_id"]

    for token in (tokens["refresh_token"], tokens["access_token"], "unknown"):
        form = {"client_id": other, "token": token}
        assert (await http.post("/oauth/revoke", data=form)).status_code == 200
    assert (await call(http, tokens)).status_code == 200
    form = {"client_id": client_id, "token": tokens["access_token"], "token_type_hint": "access_token"}
    assert (await http.post("/oauth/revoke", data=form)).status_code == 200
    assert (await call(http, tokens)).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://example.com/callback"},
        {"redirect_uri": "http://127.0.0.1:51234/callback/../other"},
        {"redirect_uri": "http://127.0.0.1:51234@example.com/callback"},
        {"redirect_uri": "http://127.0.0.1:51234\\@example.com/callback"},
        {"redirect_uri": "http://localhost:51234/callback"},
        {"redirect_uri": "http://127.0.0.1:51234/callback#fragment"},
        {"redirect_uri": "http://127.0.0.1:51234/callback?more"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "//127.0.0.1:51234/callback"},
        {"redirect_uri": None},
        {"client_id": "01900000-0000-7000-8000-000000000000"},
        {"client_id": "nobody"},
    ],
)
async def test_no_redirect_to_an_address_that_was_not_registered(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str, changes: dict[str, str | None]
) -> None:
    asked = query(**{"client_id": client_id, **changes})  # type: ignore[arg-type]  # a client is always given
    page = await http.get(f"/authorize?{asked}")
    decided = await http.post("/auth/consent", json={"query": asked, "allow": True}, headers=headers)

    assert page.status_code == 400
    assert "location" not in page.headers
    assert decided.status_code == (404 if "client_id" in changes else 400)
    twice = await http.get(f"/authorize?{query(client_id)}&redirect_uri=https%3A%2F%2Fexample.com%2F")
    assert twice.status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": VERIFIER}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"resource": "https://example.com/mcp"}, "invalid_target"),
    ],
)
async def test_client_learns_what_is_wrong_by_a_redirect(
    service: AgentService,
    http: httpx2.AsyncClient,
    headers: dict[str, str],
    client_id: str,
    changes: dict[str, str | None],
    error: str,
) -> None:
    asked = query(client_id, **changes)
    answer = await http.get(f"/authorize?{asked}")
    decided = await http.post("/auth/consent", json={"query": asked, "allow": True}, headers=headers)

    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    for location in (answer.headers["location"], decided.json()["redirect_to"]):
        told = parameters(location)
        assert (told["error"], told["state"], told["iss"]) == (error, "of the client", service.url)
        assert "code" not in told


async def test_no_redirect_to_another_machine_without_the_user(
    http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    uri = "https://example.com/callback"
    registered = (await http.post("/oauth/register", json={"redirect_uris": [uri]})).json()
    asked = query(registered["client_id"], redirect_uri=uri, scope="admin")
    page = await http.get(f"/authorize?{asked}")
    shown = (await http.post("/auth/consent/preview", json={"query": asked}, headers=headers)).json()

    assert (page.status_code, page.headers.get("location")) == (400, None)
    assert shown["redirect_host"] == "example.com"
    assert parameters(shown["redirect_to"])["error"] == "invalid_scope"


async def test_desktop_client_is_redirected_to_its_own_scheme(
    http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    uri = "cursor://anysphere.cursor-mcp/oauth/callback"
    client_id = (await http.post("/oauth/register", json={"redirect_uris": [uri]})).json()["client_id"]
    body = {"query": query(client_id, redirect_uri=uri)}
    shown = (await http.post("/auth/consent/preview", json=body, headers=headers)).json()
    decided = await http.post("/auth/consent", json={**body, "allow": True}, headers=headers)
    address = decided.json()["redirect_to"]
    answer = await exchange(http, client_id, parameters(address)["code"], redirect_uri=uri)

    assert shown["redirect_host"] == "cursor:"
    assert address.startswith(f"{uri}?")
    assert answer.status_code == 200


async def test_loopback_port_is_free(http: httpx2.AsyncClient, headers: dict[str, str], client_id: str) -> None:
    uri = "http://127.0.0.1:60000/callback"
    code = await allowed_code(http, headers, client_id, redirect_uri=uri)

    assert (await exchange(http, client_id, code, redirect_uri=uri)).status_code == 200


async def test_denied_client_gets_no_code(
    service: AgentService, http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    browser = Browser(http, headers, allows=False)
    await browser.open(f"/authorize?{query(client_id)}")

    assert browser.answer == {"error": "access_denied", "state": "of the client", "iss": service.url}


async def test_consent_needs_the_users_own_sign_in(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    body = {"query": query(client_id), "allow": True}
    key = (await http.post("/auth/api-keys", json={"name": "a key"}, headers=headers)).json()["key"]

    assert (await http.post("/auth/consent", json=body)).status_code == 401
    assert (await http.post("/auth/consent", json=body, headers={"X-Api-Key": key})).status_code == 403


async def test_scopes_restrict_tools_and_resources(
    http: httpx2.AsyncClient, headers: dict[str, str], client_id: str
) -> None:
    tokens = await granted(http, headers, client_id, scope="documents openid")
    assert tokens["scope"] == "documents"
    tools = (await call(http, tokens)).json()["result"]["tools"]

    assert [tool["name"] for tool in tools] == ["search_documents"]
    assert (await call(http, tokens, "resources/list")).status_code == 200
    refused = await call(http, tokens, "tools/call", name="talk", arguments={"message": "hello"})
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert 'scope="assistants documents"' in refused.headers["www-authenticate"]
    more = await refresh(http, client_id, tokens["refresh_token"], scope="assistants")
    assert error_of(more) == "invalid_scope"


async def test_user_lists_and_removes_grants(service: AgentService, http: httpx2.AsyncClient, client_id: str) -> None:
    ada, bob = service.sign_up(), service.sign_up()
    tokens = await granted(http, ada, client_id)
    [grant] = (await http.get("/auth/grants", headers=ada)).json()["items"]
    at = f"/auth/grants/{grant['id']}"

    assert (grant["client_name"], grant["redirect_host"]) == ("Mine", "127.0.0.1")
    assert grant["scopes"] == ["assistants", "documents"]
    assert (await http.get("/auth/grants", headers=bob)).json()["items"] == []
    assert (await http.delete(at, headers=bob)).status_code == 404
    assert (await http.delete(at, headers=ada)).status_code == 204
    assert (await call(http, tokens)).status_code == 401
    assert error_of(await refresh(http, client_id, tokens["refresh_token"])) == "invalid_grant"
    assert (await http.get("/auth/grants", headers=ada)).json()["items"] == []


async def test_grants_end_with_the_password_the_sign_ins_and_the_account(
    service: AgentService, http: httpx2.AsyncClient, client_id: str
) -> None:
    changed = {"old_password": PASSWORD, "password": f"{PASSWORD}!"}
    for method, path, body in (
        ("PATCH", "/auth/me", changed),
        ("POST", "/auth/logout-all", None),
        ("DELETE", "/auth/me", None),
    ):
        owner = service.sign_up()
        tokens = await granted(http, owner, client_id)
        code = await allowed_code(http, owner, client_id)
        assert (await call(http, tokens)).status_code == 200

        assert (await http.request(method, path, json=body, headers=owner)).is_success
        assert (await call(http, tokens)).status_code == 401
        assert error_of(await refresh(http, client_id, tokens["refresh_token"])) == "invalid_grant"
        assert error_of(await exchange(http, client_id, code)) == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": []}, "invalid_request"),
        ({"redirect_uris": [CALLBACK] * 11}, "invalid_request"),
        ({"redirect_uris": ["http://example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://example.com/#a"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://user@example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript://example.com/%0aalert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["unknown://example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["cursor:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https:///path"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://[::1/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://example.com/{'a' * 500}"]}, "invalid_redirect_uri"),
        ({"client_name": "a" * 101}, "invalid_client_metadata"),
        ({"client_name": "safe\u202egnp.exe"}, "invalid_client_metadata"),
        ({"client_name": "two\u2028lines"}, "invalid_client_metadata"),
        ({"client_name": "\u3164"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
    ],
)
async def test_registration_is_checked(http: httpx2.AsyncClient, changes: dict[str, Any], error: str) -> None:
    assert error_of(await http.post("/oauth/register", json={"redirect_uris": [CALLBACK], **changes})) == error


async def test_registration_is_small_and_gives_no_secret(http: httpx2.AsyncClient) -> None:
    asked = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic", "logo_uri": "https://a/"}
    made = await http.post("/oauth/register", json=asked)
    large = await http.post("/oauth/register", json={**asked, "contacts": ["a" * 20_000]})

    assert made.status_code == 201
    assert made.json()["token_endpoint_auth_method"] == "none"
    assert made.json().keys().isdisjoint({"client_secret", "logo_uri"})
    assert made.headers["cache-control"] == "no-store"
    assert error_of(large, 413) == "invalid_request"
