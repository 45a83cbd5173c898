"""OAuth behind a root path and another address, switched off, and with too many clients."""

import httpx
import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from project4_agent_api.accounts.oauth import clients
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in
from tests.support.oauth import CALLBACK, Browser, Memory, allowed_code, exchange, official_client

RESOURCE, SERVER = "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"


def client_of(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False)


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")  # of FastAPI, for every service with one
async def test_official_client_signs_in_below_a_root_path(serve4: Serve) -> None:
    with serve4(root_path="/agents") as url:
        async with client_of(f"{url}/agents") as http:
            await register(http, "ada@example.com")
            browser = Browser(http, bearer(await sign_in(http, "ada@example.com")))
            provider = official_client(f"{url}/agents", browser, Memory())
            async with (
                httpx.AsyncClient(auth=provider, timeout=120) as authenticated,
                streamable_http_client(f"{url}/agents/mcp", http_client=authenticated) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                assert {"agent"} <= {tool.name for tool in (await session.list_tools()).tools}
            server = (await http.get("/.well-known/openid-configuration")).json()

        assert server["issuer"] == browser.answer["iss"] == f"{url}/agents"


async def test_public_url_is_the_one_that_is_named(serve4: Serve) -> None:
    with serve4(public_url="https://agents.example.com/") as url:
        async with client_of(url) as http:
            resource, server = (await http.get(RESOURCE)).json(), (await http.get(SERVER)).json()
            refused = await http.post("/mcp", json={})

    assert resource["resource"] == "https://agents.example.com/mcp"
    assert resource["authorization_servers"] == [server["issuer"]] == ["https://agents.example.com"]
    assert server["token_endpoint"] == "https://agents.example.com/oauth/token"
    assert "https://agents.example.com/.well-known" in refused.headers["www-authenticate"]


@pytest.mark.parametrize("setting", ["oauth_enabled", "auth_required"])
async def test_oauth_is_not_offered_if_a_setting_says_so(serve4: Serve, setting: str) -> None:
    with serve4(**{setting: False}) as url:
        async with client_of(url) as http:
            resource = (await http.get(RESOURCE)).json()
            for path in (SERVER, "/authorize"):
                assert (await http.get(path)).status_code == 404, path
            for path in ("/oauth/register", "/oauth/token", "/auth/consent"):
                assert (await http.post(path, json={})).status_code == 404, path

            answer = await http.post("/threads/search", json={}, headers={"Authorization": "Bearer mcp_x"})

    assert "authorization_servers" not in resource
    assert answer.status_code == (200 if setting == "auth_required" else 401)


async def test_grant_of_an_ended_sign_in_gives_way(serve4: Serve) -> None:
    with serve4(user_api_keys_max=1) as url:
        async with client_of(url) as http:
            await register(http, "ada@example.com")
            client_id = (await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).json()["client_id"]
            for _ in range(2):
                headers = bearer(await sign_in(http, "ada@example.com"))
                code = await allowed_code(http, headers, client_id)
                assert (await exchange(http, client_id, code)).status_code == 200
                grants = (await http.get("/auth/grants", headers=headers)).json()["items"]
                assert len(grants) == 1
                assert (await http.post("/auth/logout-all", headers=headers)).is_success


async def test_oldest_unused_client_gives_way(serve4: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_CLIENTS", 2)
    with serve4() as url:
        async with client_of(url) as http:
            await register(http, "ada@example.com")
            headers = bearer(await sign_in(http, "ada@example.com"))

            async def registered() -> httpx2.Response:
                return await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})

            used, unused = (await registered()).json()["client_id"], (await registered()).json()["client_id"]
            code = await allowed_code(http, headers, used)
            newest = (await registered()).json()["client_id"]

            assert (await exchange(http, unused, code)).status_code == 401
            assert (await exchange(http, used, code)).status_code == 200
            await allowed_code(http, headers, newest)
            full = await registered()
            assert (full.status_code, full.json()["error"]) == (429, "temporarily_unavailable")


async def test_registrations_from_an_address_are_limited(serve4: Serve) -> None:
    with serve4(sign_ins_per_minute=2) as url:
        async with client_of(url) as http:
            statuses = [
                (await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).status_code for _ in range(3)
            ]

    assert statuses == [201, 201, 429]
