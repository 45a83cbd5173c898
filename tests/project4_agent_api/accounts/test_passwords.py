"""Passwords in different Unicode forms, and hashes of a form that is no longer stored."""

import asyncio
import unicodedata
from typing import Any

import httpx2
import psycopg
import pytest

from project2_user_mgmt.passwords import _HASHER
from tests.support.accounts import bearer, gets_in, register, sign_in, try_to_sign_in

EMAIL = "ada@example.com"
COMPOSED = "caf\N{LATIN SMALL LETTER E WITH ACUTE} 1234"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
FULL_WIDTH = COMPOSED.replace("1234", "\N{FULLWIDTH DIGIT ONE}234").replace(" ", "\N{IDEOGRAPHIC SPACE}")


def stored_hash(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        ((password_hash,),) = connection.execute("SELECT password_hash FROM users").fetchall()
    return str(password_hash)


def store_hash_of_sent_form(database_url: str, password: str) -> None:
    """Store the hash that versions without normalization stored, with the digest of every sign-in."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET password_hash = %s", [_HASHER.hash(password)])
        connection.execute(
            "UPDATE sign_ins SET password_digest = encode(sha256(convert_to(password_hash, 'UTF8')), 'hex') FROM users"
        )


@pytest.mark.parametrize("registered", [COMPOSED, DECOMPOSED, FULL_WIDTH])
async def test_password_is_the_same_in_every_form(client4: httpx2.AsyncClient, registered: str) -> None:
    await register(client4, EMAIL, registered)

    for form in (COMPOSED, DECOMPOSED, FULL_WIDTH):
        assert (await try_to_sign_in(client4, EMAIL, form)).status_code == 200
    assert (await try_to_sign_in(client4, EMAIL, COMPOSED.upper())).status_code == 401


async def test_old_password_is_verified_in_every_form(client4: httpx2.AsyncClient) -> None:
    await register(client4, EMAIL, COMPOSED)
    headers = bearer(await sign_in(client4, EMAIL, COMPOSED))

    body = {"password": "a new password", "old_password": DECOMPOSED}
    changed = await client4.patch("/auth/me", json=body, headers=headers)

    assert changed.status_code == 200


async def test_hash_of_the_sent_form_is_replaced(client4: httpx2.AsyncClient, database_url: str) -> None:
    await register(client4, EMAIL, DECOMPOSED)
    earlier = await sign_in(client4, EMAIL, DECOMPOSED)
    store_hash_of_sent_form(database_url, DECOMPOSED)
    old_hash = stored_hash(database_url)
    assert (await try_to_sign_in(client4, EMAIL, COMPOSED)).status_code == 401

    tokens = await sign_in(client4, EMAIL, DECOMPOSED)

    assert stored_hash(database_url) != old_hash
    assert [await gets_in(client4, bearer(each)) for each in (earlier, tokens)] == [200, 200]
    assert (await try_to_sign_in(client4, EMAIL, COMPOSED)).status_code == 200


async def test_concurrent_sign_ins_replace_a_hash_once(client4: httpx2.AsyncClient, database_url: str) -> None:
    await register(client4, EMAIL, DECOMPOSED)
    store_hash_of_sent_form(database_url, DECOMPOSED)

    pairs = await asyncio.gather(*(sign_in(client4, EMAIL, DECOMPOSED) for _ in range(5)))

    assert [await gets_in(client4, bearer(pair)) for pair in pairs] == [200] * 5


@pytest.mark.parametrize(
    ("password", "status"),
    [
        (unicodedata.normalize("NFD", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 7), 422),  # fourteen as sent
        (unicodedata.normalize("NFD", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 200), 201),  # 400 as sent
        (unicodedata.normalize("NFD", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 201), 422),
        ("\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 12, 422),  # 216 characters after normalization
        ("x" * 1001, 422),
    ],
)
async def test_length_is_counted_after_normalization(client4: httpx2.AsyncClient, password: str, status: int) -> None:
    response = await client4.post("/auth/register", json={"email": EMAIL, "name": "Ada", "password": password})

    assert response.status_code == status
    assert password not in response.text
    assert "items" not in response.text  # they are characters


async def test_unknown_email_costs_as_many_hashes(client4: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await register(client4, EMAIL, COMPOSED)
    counted: list[str] = []

    def count(name: str) -> None:
        function = getattr(_HASHER, name)

        def counting(*arguments: str) -> Any:  # noqa: ANN401  the wrapped function's result
            counted.append(name)
            return function(*arguments)

        monkeypatch.setattr(_HASHER, name, counting)

    count("hash")
    count("verify")

    for email in (EMAIL, "nobody@example.com"):
        for password in ("wrong password", "wrong password \N{FULLWIDTH DIGIT ONE}"):
            assert (await try_to_sign_in(client4, email, password)).status_code == 401

    assert counted == ["verify"] * 3 + ["hash"] * 3
