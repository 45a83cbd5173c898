"""Refreshing and signing out: one use for each refresh token, and an end that holds at once, in every process."""

import asyncio
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable

import httpx2
import psycopg
import pytest

from project1_qa_api.settings import Settings as Stage1Settings
from tests.project4_agent_api.conftest import Operate, Serve
from tests.support.accounts import bearer, gets_in, refresh, register, sign_in, try_to_sign_in
from tests.support.processes import served

EMAIL = "ada@example.com"


async def test_refresh_token_is_exchanged_for_a_new_pair(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    first = await sign_in(client4, EMAIL)

    response = await refresh(client4, first)

    assert response.status_code == 200
    second = response.json()
    assert set(second) == set(first)
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert await gets_in(client4, bearer(second)) == 200
    assert (await refresh(client4, second)).status_code == 200


async def test_reused_refresh_token_revokes_only_its_family(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    stolen, other = await sign_in(client4, EMAIL), await sign_in(client4, EMAIL)
    thieves = (await refresh(client4, stolen)).json()
    assert await gets_in(client4, bearer(thieves)) == 200

    reused = await refresh(client4, stolen)

    assert reused.status_code == 401
    assert reused.headers["www-authenticate"] == "Bearer"
    assert [await gets_in(client4, bearer(tokens)) for tokens in (stolen, thieves, other)] == [401, 401, 200]
    assert [(await refresh(client4, tokens)).status_code for tokens in (thieves, other)] == [401, 200]


async def test_50_concurrent_uses_of_a_refresh_token_revoke_its_family(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    tokens = await sign_in(client4, EMAIL)

    answers = await asyncio.gather(*(refresh(client4, tokens) for _ in range(50)))

    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 49}
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert [await gets_in(client4, bearer(pair)) for pair in (tokens, won)] == [401, 401]
    assert (await refresh(client4, won)).status_code == 401


async def test_forged_refresh_token_revokes_nothing(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    tokens = await sign_in(client4, EMAIL)
    real = urlsafe_b64decode(tokens["refresh_token"])
    made_up = [
        urlsafe_b64encode(secrets.token_bytes(len(real))).decode(),
        urlsafe_b64encode(secrets.token_bytes(32) + real[32:]).decode(),
        tokens["access_token"],
        tokens["refresh_token"][:-4],
        tokens["refresh_token"] + "AAAA",
        "é" * 86,
        "\ud83d",
    ]

    for token in made_up[:-1]:
        assert (await refresh(client4, {"refresh_token": token})).status_code == 401
    half = b'{"refresh_token": "\\ud83d"}'
    answer = await client4.post("/auth/refresh", content=half, headers={"Content-Type": "application/json"})
    assert answer.status_code == 401

    assert await gets_in(client4, bearer(tokens)) == 200
    assert (await refresh(client4, tokens)).status_code == 200


async def test_refresh_token_is_rejected_as_access_token(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    tokens = await sign_in(client4, EMAIL)

    assert await gets_in(client4, {"Authorization": f"Bearer {tokens['refresh_token']}"}) == 401
    assert await gets_in(client4, {"X-Api-Key": tokens["refresh_token"]}) == 401


async def test_unused_sign_in_expires(client4: httpx2.AsyncClient, database_url: str) -> None:
    await register(client4, EMAIL)
    tokens = await sign_in(client4, EMAIL)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE sign_ins SET expires_at = now() - interval '1 second'")

    assert (await refresh(client4, tokens)).status_code == 401

    await sign_in(client4, EMAIL)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM sign_ins").fetchone() == (1,)


async def test_sign_out_ends_one_sign_in(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL)
    left, other = await sign_in(client4, EMAIL), await sign_in(client4, EMAIL)

    for _ in range(2):  # who signs out twice is signed out
        gone = await client4.post("/auth/logout", json={"refresh_token": left["refresh_token"]})
        assert (gone.status_code, gone.content) == (204, b"")

    assert [await gets_in(client4, bearer(tokens)) for tokens in (left, other)] == [401, 200]
    assert [(await refresh(client4, tokens)).status_code for tokens in (left, other)] == [401, 200]
    assert (await client4.post("/auth/logout", json={"refresh_token": "no token"})).status_code == 204


async def test_sign_out_everywhere_ends_all_sign_ins(client4: httpx2.AsyncClient) -> None:
    for email in (EMAIL, "bob@example.com"):
        await register(client4, email)
    here, there, bobs = [await sign_in(client4, email) for email in (EMAIL, EMAIL, "bob@example.com")]

    assert (await client4.post("/auth/logout-all", headers=bearer(here))).status_code == 204

    assert [await gets_in(client4, bearer(tokens)) for tokens in (here, there, bobs)] == [401, 401, 200]
    assert [(await refresh(client4, tokens)).status_code for tokens in (here, there, bobs)] == [401, 401, 200]
    assert await gets_in(client4, bearer(await sign_in(client4, EMAIL))) == 200


async def test_deactivated_account_has_no_valid_tokens(client4: httpx2.AsyncClient, operate: Operate) -> None:
    await register(client4, EMAIL)
    tokens = await sign_in(client4, EMAIL)
    made = await client4.post("/auth/api-keys", json={"name": "job"}, headers=bearer(tokens))
    key = {"X-Api-Key": made.json()["key"]}

    operate("deactivate", EMAIL)

    assert [await gets_in(client4, headers) for headers in (bearer(tokens), key)] == [401, 401]
    assert (await refresh(client4, tokens)).status_code == 401
    assert (await try_to_sign_in(client4, EMAIL)).status_code == 401

    operate("activate", EMAIL)

    assert [await gets_in(client4, headers) for headers in (bearer(tokens), key)] == [401, 200]
    assert await gets_in(client4, bearer(await sign_in(client4, EMAIL))) == 200


async def test_revocation_reaches_other_processes_at_once(serve4: Serve) -> None:
    with serve4() as here, serve4() as there:
        async with (
            httpx2.AsyncClient(base_url=here, timeout=120, trust_env=False) as client,
            httpx2.AsyncClient(base_url=there, timeout=120, trust_env=False) as other,
        ):
            await register(client, EMAIL)
            first, second = await sign_in(client, EMAIL), await sign_in(other, EMAIL)
            assert [await gets_in(one, bearer(first)) for one in (client, other)] == [200, 200]

            await client.post("/auth/logout", json={"refresh_token": first["refresh_token"]})
            assert [await gets_in(one, bearer(first)) for one in (other, client)] == [401, 401]

            assert (await client.post("/auth/logout-all", headers=bearer(second))).status_code == 204
            assert await gets_in(other, bearer(second)) == 401


@pytest.mark.slow
async def test_concurrent_refresh_in_two_processes_revokes_the_family(
    make_settings: Callable[..., Stage1Settings], database_url: str, redis_url: str
) -> None:
    given = {
        "OPENAI_BASE_URL": make_settings().openai_base_url,
        "LLM_MODEL": "m",
        "EMBEDDING_MODEL": "e",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": secrets.token_urlsafe(32),
        "RATE_LIMIT_PER_MINUTE": "1000000",
    }
    with served("project4_agent_api", given) as (here, _), served("project4_agent_api", given) as (there, _):
        async with (
            httpx2.AsyncClient(base_url=here, timeout=120, trust_env=False) as client,
            httpx2.AsyncClient(base_url=there, timeout=120, trust_env=False) as other,
        ):
            await register(client, EMAIL)
            for _ in range(5):
                tokens = await sign_in(client, EMAIL)

                answers = await asyncio.gather(*(refresh(one, tokens) for one in (client, other) * 5))

                assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 9}
                (won,) = [answer.json() for answer in answers if answer.status_code == 200]
                assert [await gets_in(one, bearer(won)) for one in (client, other)] == [401, 401]
