"""Users made through stage 2's API."""

from typing import Any

import httpx2

PASSWORD = "correct horse battery staple"


async def create(client: httpx2.AsyncClient, email: str = "ada@example.com", **fields: str) -> dict[str, Any]:
    response = await client.post("/users", json={"email": email, "name": "Ada", "password": PASSWORD} | fields)
    assert response.status_code == 201, response.text
    user: dict[str, Any] = response.json()
    return user
