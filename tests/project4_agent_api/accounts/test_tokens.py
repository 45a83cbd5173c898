"""Access tokens that somebody made or changed: not one gets in."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from jose import jwt

from project4_agent_api.settings import Settings
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import Tokens, bearer, gets_in, register, sign_in

MakeSettings = Callable[..., Settings]


@pytest.fixture
async def tokens(client4: httpx2.AsyncClient) -> Tokens:
    """A pair of tokens that gets in."""
    await register(client4, "ada@example.com")
    pair = await sign_in(client4, "ada@example.com")
    assert await gets_in(client4, bearer(pair)) == 200
    return pair


@pytest.fixture
def secret(make_settings4: MakeSettings) -> str:
    """The signing key of the service."""
    return make_settings4().jwt_secret.get_secret_value()


def claims_of(tokens: Tokens) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.get_unverified_claims(tokens["access_token"])
    return claims


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def unsigned(header: object, claims: object, signature: str = "") -> str:
    return f"{encoded(header)}.{encoded(claims)}.{signature}"


async def refused(client: httpx2.AsyncClient, token: str) -> bool:
    response = await client.get("/documents", headers={"Authorization": f"Bearer {token}"})
    return (response.status_code, response.headers.get("www-authenticate"), response.json()["title"]) == (
        401,
        "Bearer",
        "Authentication required",
    )


async def test_token_claims(tokens: Tokens) -> None:
    claims = claims_of(tokens)

    assert set(claims) == {"iss", "aud", "sub", "iat", "exp", "jti", "type", "family", "version"}
    assert claims["exp"] - claims["iat"] == 15 * 60


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None])
async def test_unsigned_token_is_rejected(client4: httpx2.AsyncClient, tokens: Tokens, algorithm: str | None) -> None:
    signature = tokens["access_token"].rpartition(".")[2]

    assert await refused(client4, unsigned({"alg": algorithm, "typ": "JWT"}, claims_of(tokens)))
    assert await refused(client4, unsigned({"alg": algorithm, "typ": "JWT"}, claims_of(tokens), signature))
    assert await refused(client4, tokens["access_token"].rpartition(".")[0] + ".")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_token_cannot_choose_its_algorithm(
    client4: httpx2.AsyncClient, tokens: Tokens, secret: str, algorithm: str
) -> None:
    assert await refused(client4, jwt.encode(claims_of(tokens), secret, algorithm=algorithm))


async def test_asymmetric_algorithm_is_rejected(client4: httpx2.AsyncClient, tokens: Tokens, secret: str) -> None:
    signed = f"{encoded({'alg': 'RS256', 'typ': 'JWT'})}.{encoded(claims_of(tokens))}"
    signature = encoded(hmac.digest(secret.encode(), signed.encode(), "sha256"))

    assert await refused(client4, f"{signed}.{signature}")


async def test_token_signed_with_another_key_is_rejected(
    client4: httpx2.AsyncClient, tokens: Tokens, secret: str
) -> None:
    for key in ("another secret, also with more than 32 bytes", "", secret + " ", secret.upper()):
        assert await refused(client4, jwt.encode(claims_of(tokens), key, algorithm="HS256"))


async def test_token_cannot_name_its_own_key(client4: httpx2.AsyncClient, tokens: Tokens) -> None:
    key = "a key of an attacker's own, with 32 bytes"
    own = {"jwk": {"kty": "oct", "k": encoded(key.encode())}, "kid": "../../dev/null", "jku": "http://127.0.0.1:9/"}

    assert await refused(client4, jwt.encode(claims_of(tokens), key, algorithm="HS256", headers=own))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "urn:somebody:else"},
        {"iss": None},
        {"aud": "urn:somebody:else"},
        {"aud": ["urn:somebody:else"]},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"exp": "soon"},
        {"iat": None},
        {"jti": None},
        {"type": "refresh"},
        {"type": None},
        {"sub": str(uuid4())},
        {"sub": "admin"},
        {"sub": 1},
        {"sub": None},
        {"family": str(uuid4())},
        {"family": None},
        {"family": [1]},
        {"jti": 1},
        {"version": 1},
        {"version": -1},
        {"version": 2**40},
        {"version": "new"},
        {"version": None},
        {"nbf": int(time.time()) + 86400},
    ],
    ids=lambda changes: ", ".join(f"{name} {type(value).__name__}" for name, value in changes.items()),
)
async def test_signed_token_with_other_claims_is_rejected(
    client4: httpx2.AsyncClient, tokens: Tokens, secret: str, changes: dict[str, Any]
) -> None:
    claims = claims_of(tokens) | changes
    left_out = {key: value for key, value in claims.items() if value is not None}

    assert await refused(client4, jwt.encode(claims, secret, algorithm="HS256"))
    if left_out != claims:
        assert await refused(client4, jwt.encode(left_out, secret, algorithm="HS256"))
    assert await gets_in(client4, bearer(tokens)) == 200


async def test_token_expiry_allows_clock_skew(client4: httpx2.AsyncClient, tokens: Tokens, secret: str) -> None:
    claims = claims_of(tokens) | {"exp": int(time.time()) - 2}

    token = jwt.encode(claims, secret, algorithm="HS256")

    assert await gets_in(client4, {"Authorization": f"Bearer {token}"}) == 200


async def test_token_contains_no_role(client4: httpx2.AsyncClient, tokens: Tokens, secret: str) -> None:
    claims = claims_of(tokens) | {"role": "admin", "scope": "admin"}

    token = jwt.encode(claims, secret, algorithm="HS256")

    answer = await client4.get("/users", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "..",
        "a.b.c",
        "....",
        "=.=.=",
        unsigned(b"\xff\xfe", {}),
        unsigned([], []),
        unsigned({"alg": ["HS256"]}, {}),
        unsigned({"alg": {"HS256": 1}}, {}),
        unsigned(b"[" * 1000, {}),
        unsigned(b'{"a":' * 300, {}),
        "x" * 5000,
        "é",
    ],
    ids=range(13),
)
async def test_malformed_token_is_rejected_alike(client4: httpx2.AsyncClient, token: str) -> None:
    header = f"Bearer {token}".encode("latin-1")

    response = await client4.get("/documents", headers=[(b"Authorization", header)])

    assert response.status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Basic YTpi", "Token x", "bearer", "x"])
async def test_other_authorization_scheme_is_rejected(client4: httpx2.AsyncClient, header: str) -> None:
    assert await gets_in(client4, {"Authorization": header}) == 401


async def test_token_of_another_service_is_rejected(serve4: Serve, client4: httpx2.AsyncClient) -> None:
    await register(client4, "ada@example.com")
    pair = await sign_in(client4, "ada@example.com")

    with serve4(jwt_secret="another secret, also with more than 32 bytes") as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as other:
            assert await gets_in(other, bearer(pair)) == 401
            answer = await other.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
            assert answer.status_code == 200  # a new secret signs nobody out
