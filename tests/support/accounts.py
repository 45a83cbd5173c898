"""Accounts of stage 4, made and used the way a client does."""

from typing import Any

import httpx2

PASSWORD = "correct horse battery staple"
Tokens = dict[str, Any]


async def register(client: httpx2.AsyncClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """Make an account."""
    account = {"email": email, "name": email.partition("@")[0], "password": password}
    response = await client.post("/auth/register", json=account)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def try_to_sign_in(client: httpx2.AsyncClient, email: str, password: str = PASSWORD) -> httpx2.Response:
    """Send the form."""
    return await client.post("/auth/token", data={"username": email, "password": password})


async def sign_in(client: httpx2.AsyncClient, email: str, password: str = PASSWORD) -> Tokens:
    """Sign in; give the pair of tokens."""
    response = await try_to_sign_in(client, email, password)
    assert response.status_code == 200, response.text
    tokens: Tokens = response.json()
    return tokens


async def refresh(client: httpx2.AsyncClient, tokens: Tokens) -> httpx2.Response:
    """Use a refresh token."""
    return await client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})


def bearer(tokens: Tokens) -> dict[str, str]:
    """Return the headers that show an access token."""
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def gets_in(client: httpx2.AsyncClient, headers: dict[str, str]) -> int:
    """Return what a request with these headers is answered with."""
    return (await client.get("/auth/me", headers=headers)).status_code
