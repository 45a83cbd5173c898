"""Clients of MCP whose id is the URL of a document: the official client signs in without registering itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from typing import Any

import httpx
import httpx2
import orjson
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from shared.outbound.fetching import Fetched, FetchError, PublicWeb
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in
from tests.support.oauth import CALLBACK, Browser, Memory, official_client, query

pytestmark = pytest.mark.slow
URL = "https://editor.example/oauth/client.json"
DOCUMENT = {"client_id": URL, "client_name": "Editor", "redirect_uris": [CALLBACK]}


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The documents of the internet, by their URLs. A text is the URL of a redirect."""
    documents: dict[str, Any] = {URL: DOCUMENT}

    @asynccontextmanager
    async def get(_: PublicWeb, url: str, accept: str) -> AsyncIterator[Fetched]:
        assert accept == "application/json"
        document = documents.get(url)
        if document is None:
            raise FetchError("The server answered with status 404.")
        final = document if isinstance(document, str) else url
        yield Fetched(httpx2.URL(final), Message(), _pieces(orjson.dumps(document)))

    monkeypatch.setattr(PublicWeb, "get", get)
    return documents


async def test_official_client_signs_in_with_its_document(serve4: Serve, web: dict[str, Any]) -> None:
    storage = Memory()
    with serve4() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
            await register(http, "ada@example.com")
            headers = bearer(await sign_in(http, "ada@example.com"))
            provider = official_client(url, Browser(http, headers), storage, document=URL)
            async with (
                httpx.AsyncClient(auth=provider, timeout=60) as authenticated,
                streamable_http_client(f"{url}/mcp", http_client=authenticated) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
            body = {"query": query(URL)}
            shown = (await http.post("/auth/consent/preview", json=body, headers=headers)).json()
            grants = (await http.get("/auth/grants", headers=headers)).json()["items"]
            for reason, document in refused_documents().items():
                web["https://editor.example/other.json"] = document
                body = {"query": query("https://editor.example/other.json")}
                answer = await http.post("/auth/consent/preview", json=body, headers=headers)
                assert (answer.status_code, reason in answer.json()["detail"]) == (404, True), answer.text
            stranger = await http.get(f"/authorize?{query('https://editor.example/other.json')}")

    assert storage.client is not None
    assert storage.client.client_id == URL
    assert (shown["client_name"], shown["client_host"], shown["redirect_host"]) == (
        "Editor",
        "editor.example",
        "127.0.0.1",
    )
    assert [grant["client_name"] for grant in grants] == ["Editor"]
    assert stranger.status_code == 200  # nothing is fetched before the user has signed in


def refused_documents() -> dict[str, Any]:
    """Return documents by a part of the reason for which they are refused."""
    document = DOCUMENT | {"client_id": "https://editor.example/other.json"}
    return {
        "status 404": None,
        "redirects": URL,
        "client_id is another one": DOCUMENT,
        "more than 8,192 bytes": document | {"client_name": "a" * 9000},
        "token_endpoint_auth_method": document | {"token_endpoint_auth_method": "client_secret_post"},
        "A redirect URI is https": document | {"redirect_uris": ["http://editor.example/"]},
        "redirect_uris": document | {"redirect_uris": []},
    }
