"""API keys: made once, shown once, good until they are deleted or expire."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest
from langgraph_sdk import get_client

from tests.project4_agent_api.conftest import Serve, SignUp
from tests.support.accounts import gets_in, register, sign_in


async def make(client: httpx2.AsyncClient, headers: dict[str, str], **fields: Any) -> dict[str, Any]:
    response = await client.post("/auth/api-keys", json={"name": "nightly job"} | fields, headers=headers)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_key_is_shown_once_and_stored_as_hash(
    client4: httpx2.AsyncClient, sign_up: SignUp, database_url: str
) -> None:
    headers = await sign_up()

    made = await make(client4, headers)

    assert await gets_in(client4, {"X-Api-Key": made["key"]}) == 200
    assert made["key"].startswith(made["beginning"])
    listed = (await client4.get("/auth/api-keys", headers=headers)).json()["items"]
    (shown,) = listed
    assert set(shown) == {"id", "name", "beginning", "created_at", "expires_at", "last_used_at"}
    assert shown["last_used_at"] is not None
    with psycopg.connect(database_url) as connection:
        (stored,) = connection.execute("SELECT row_to_json(api_keys)::text FROM api_keys").fetchone() or ("",)
    assert made["key"] not in stored
    assert made["key"].removeprefix(made["beginning"]) not in stored


async def test_deleted_key_is_rejected_at_once_in_every_process(serve4: Serve) -> None:
    with serve4() as here, serve4() as there:
        async with (
            httpx2.AsyncClient(base_url=here, timeout=120, trust_env=False) as client,
            httpx2.AsyncClient(base_url=there, timeout=120, trust_env=False) as other,
        ):
            await register(client, "ada@example.com")
            tokens = await sign_in(client, "ada@example.com")
            headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            first, second = await make(client, headers), await make(client, headers)
            keys = [{"x-api-key": one["key"]} for one in (first, second)]
            assert [await gets_in(other, key) for key in keys] == [200, 200]

            gone = await client.delete(f"/auth/api-keys/{first['id']}", headers=headers)

            assert gone.status_code == 204
            assert [await gets_in(other, key) for key in keys] == [401, 200]
            again = await client.delete(f"/auth/api-keys/{first['id']}", headers=headers)
            assert again.status_code == 404


async def test_expired_key_is_rejected(client4: httpx2.AsyncClient, sign_up: SignUp, database_url: str) -> None:
    headers = await sign_up()
    made = await make(client4, headers, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    key = {"X-Api-Key": made["key"]}
    assert await gets_in(client4, key) == 200

    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")

    assert await gets_in(client4, key) == 401


async def test_keys_outlive_sign_ins(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up()
    made = await make(client4, headers)

    assert (await client4.post("/auth/logout-all", headers=headers)).status_code == 204

    assert await gets_in(client4, {"X-Api-Key": made["key"]}) == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": 4_102_444_800},
        {"expires_at": "next year"},
        {"name": ""},
        {"name": " "},
        {"key": "a key of my own"},
        {"user_id": "01a20c50-5b86-761b-bf50-fe632e4213db"},
    ],
    ids=str,
)
async def test_invalid_key_request_is_rejected(
    client4: httpx2.AsyncClient, sign_up: SignUp, fields: dict[str, Any]
) -> None:
    headers = await sign_up()

    refused = await client4.post("/auth/api-keys", json={"name": "job"} | fields, headers=headers)

    assert refused.status_code == 422
    assert (await client4.get("/auth/api-keys", headers=headers)).json()["items"] == []


@pytest.mark.parametrize("key", ["", "x", "key_", "key_" + "x" * 43, "é"])
async def test_invalid_key_is_rejected(client4: httpx2.AsyncClient, key: str) -> None:
    response = await client4.get("/auth/me", headers=[(b"X-Api-Key", key.encode())])

    assert response.status_code == 401


async def test_keys_are_private_to_their_account(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    ada, bob = await sign_up("ada@example.com"), await sign_up("bob@example.com")
    made = await make(client4, ada)

    assert (await client4.get("/auth/api-keys", headers=bob)).json()["items"] == []
    assert (await client4.delete(f"/auth/api-keys/{made['id']}", headers=bob)).status_code == 404
    assert await gets_in(client4, {"X-Api-Key": made["key"]}) == 200


async def test_keys_are_listed_newest_first_in_pages(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up()
    made = [(await make(client4, headers, name=f"job {i}"))["name"] for i in range(5)]

    names, cursor = [], None
    while True:
        page = await client4.get(
            "/auth/api-keys", params={"limit": 2} | ({"cursor": cursor} if cursor else {}), headers=headers
        )
        names += [item["name"] for item in page.json()["items"]]
        if not (cursor := page.json()["next_cursor"]):
            break

    assert names == made[::-1]


async def test_langgraph_client_authenticates_with_a_key(serve4: Serve) -> None:
    with serve4() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            await register(http, "ada@example.com")
            tokens = await sign_in(http, "ada@example.com")
            made = await make(http, {"Authorization": f"Bearer {tokens['access_token']}"})

        client = get_client(url=url, api_key=made["key"])
        assistants = await client.assistants.search()
        await client.aclose()

    assert assistants
