"""Registering and signing in: who gets in, who does not, and what that tells about others."""

import asyncio
import threading
from collections import Counter

import httpx2
import pytest
from redis import Redis

from project2_user_mgmt import passwords
from tests.project4_agent_api.conftest import Operate, Serve
from tests.support.accounts import PASSWORD, bearer, gets_in, register, sign_in, try_to_sign_in
from tests.support.until import until


async def test_new_account_signs_in(client4: httpx2.AsyncClient) -> None:
    account = await register(client4, "Ada@Example.com")
    tokens = await sign_in(client4, "Ada@example.com")

    assert set(account) == {"id", "email", "name", "role", "created_at", "updated_at"}
    assert (account["email"], account["role"]) == ("Ada@example.com", "user")
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 900)
    shown = await client4.get("/auth/me", headers=bearer(tokens))
    assert shown.json() == account


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.com", "Ada@Example.COM"])
async def test_email_is_case_insensitive(client4: httpx2.AsyncClient, email: str) -> None:
    await register(client4, "Ada@example.com")

    assert await gets_in(client4, bearer(await sign_in(client4, email))) == 200


@pytest.mark.parametrize("field", ["role", "active", "id", "is_admin", "token_version"])
async def test_registration_rejects_a_role(client4: httpx2.AsyncClient, field: str) -> None:
    body = {"email": "ada@example.com", "name": "Ada", "password": PASSWORD, field: "admin"}

    response = await client4.post("/auth/register", json=body)

    assert response.status_code == 422
    assert (await try_to_sign_in(client4, "ada@example.com")).status_code == 401


async def test_50_registrations_of_one_email_create_one_account(client4: httpx2.AsyncClient) -> None:
    cases = ["ada@example.com", "ADA@example.com", "Ada@Example.COM"]
    bodies = [{"email": cases[i % 3], "name": "Ada", "password": PASSWORD} for i in range(50)]

    answers = await asyncio.gather(*(client4.post("/auth/register", json=body) for body in bodies))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}


async def test_failed_sign_ins_are_indistinguishable(client4: httpx2.AsyncClient, operate: Operate) -> None:
    for email in ("ada@example.com", "gone@example.com"):
        await register(client4, email)
    operate("deactivate", "gone@example.com")

    answers = [
        await try_to_sign_in(client4, "ada@example.com", "another password"),
        await try_to_sign_in(client4, "nobody@example.com"),
        await try_to_sign_in(client4, "gone@example.com"),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    bodies = [answer.json() | {"request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]


async def test_unknown_email_costs_a_hash(client4: httpx2.AsyncClient) -> None:
    await register(client4, "ada@example.com")
    emails = ["ada@example.com", "nobody@example.com", "nobody.else@example.com"]
    busy, threads = threading.Event(), passwords._THREADS
    for _ in range(threads._max_workers):
        threads.submit(busy.wait)

    try:
        trying = [asyncio.create_task(try_to_sign_in(client4, email, "another password")) for email in emails]
        await until(lambda: threads._work_queue.qsize() == len(emails))
    finally:
        busy.set()

    assert {(await task).status_code for task in trying} == {401}


async def test_account_is_throttled_after_10_wrong_passwords(client4: httpx2.AsyncClient) -> None:
    for email in ("ada@example.com", "bob@example.com"):
        await register(client4, email)

    guesses = await asyncio.gather(
        *(try_to_sign_in(client4, "Ada@example.com" if i % 2 else "ada@example.com", f"guess {i}") for i in range(30))
    )

    assert Counter(guess.status_code for guess in guesses) == {401: 10, 429: 20}
    refused = await try_to_sign_in(client4, "ada@example.com")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 900
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await try_to_sign_in(client4, "bob@example.com")).status_code == 200


async def test_throttle_counts_spellings_of_an_email_together(client4: httpx2.AsyncClient) -> None:
    await register(client4, "vic@example.com")
    dotted = "v\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}c@example.com"  # which PostgreSQL's lower() makes an `i`
    assert (await try_to_sign_in(client4, dotted)).status_code == 200

    guesses = [await try_to_sign_in(client4, "vic@example.com" if i % 2 else dotted, f"guess {i}") for i in range(11)]

    assert [guess.status_code for guess in guesses] == [401] * 10 + [429]


async def test_password_form_cannot_choose_its_codec(client4: httpx2.AsyncClient) -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nada@example.com\r\n'
        b'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n\\ud800\r\n--x--\r\n'
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"}

    refused = await client4.post("/auth/token", content=form, headers=kind)

    assert refused.status_code == 400
    assert refused.json()["detail"] == "Forms must be UTF-8: send no charset."


async def test_unknown_email_is_throttled(client4: httpx2.AsyncClient) -> None:
    guesses = [await try_to_sign_in(client4, "nobody@example.com", f"guess {i}") for i in range(11)]

    assert [guess.status_code for guess in guesses] == [401] * 10 + [429]


async def test_correct_password_resets_the_throttle(client4: httpx2.AsyncClient) -> None:
    await register(client4, "ada@example.com")

    for _ in range(2):
        for i in range(9):
            assert (await try_to_sign_in(client4, "ada@example.com", f"guess {i}")).status_code == 401
        assert (await try_to_sign_in(client4, "ada@example.com")).status_code == 200


async def test_address_is_limited_to_30_attempts_a_minute(serve4: Serve) -> None:
    with serve4(sign_ins_per_minute=30) as url, serve4(sign_ins_per_minute=30) as other:
        async with httpx2.AsyncClient(timeout=120, trust_env=False) as client:
            attempts = [
                await client.post(
                    f"{(url, other)[i % 2]}/auth/token", data={"username": f"{i}@example.com", "password": "x"}
                )
                for i in range(31)
            ]
            registered = await client.post(
                f"{url}/auth/register", json={"email": "ada@example.com", "name": "Ada", "password": PASSWORD}
            )

    assert [attempt.status_code for attempt in attempts] == [401] * 30 + [429]
    assert 0 < int(attempts[-1].headers["retry-after"]) <= 60
    assert registered.status_code == 201  # counted apart


async def test_redis_contains_no_email(client4: httpx2.AsyncClient, redis_url: str) -> None:
    await try_to_sign_in(client4, "nobody@example.com")

    with Redis.from_url(redis_url) as redis:
        keys = redis.keys()
    assert keys
    assert not any(b"nobody" in key for key in keys)


async def test_throttle_works_without_redis(serve4: Serve) -> None:
    with serve4(redis_url="redis://127.0.0.1:1", sign_ins_per_minute=1000) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, "ada@example.com")
            tokens = await sign_in(client, "ada@example.com")
            guesses = [await try_to_sign_in(client, "ada@example.com", f"guess {i}") for i in range(11)]

            assert await gets_in(client, bearer(tokens)) == 200

    assert [guess.status_code for guess in guesses] == [401] * 10 + [429]


@pytest.mark.parametrize(
    "more",
    [{"grant_type": "client_credentials"}, {"scope": "admin"}, {"client_id": "me"}, {"client_secret": "x"}, {"a": "b"}],
)
async def test_unsupported_grant_is_rejected(client4: httpx2.AsyncClient, more: dict[str, str]) -> None:
    await register(client4, "ada@example.com")

    response = await client4.post("/auth/token", data={"username": "ada@example.com", "password": PASSWORD} | more)

    assert response.status_code == 422


async def test_form_matches_swagger_ui(client4: httpx2.AsyncClient) -> None:
    await register(client4, "ada@example.com")

    response = await client4.post(
        "/auth/token",
        data={"grant_type": "password", "username": "ada@example.com", "password": PASSWORD, "scope": ""},
        headers={"Authorization": "Basic Og=="},
    )

    assert response.status_code == 200
    schemes = (await client4.get("/openapi.json")).json()["components"]["securitySchemes"]
    assert schemes["Token"]["flows"]["password"]["tokenUrl"] == "auth/token"
    assert schemes["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
