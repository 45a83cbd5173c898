"""Registering, signing in, refreshing, signing out."""

import httpx2

from tests.project4_agent_api.conftest import SignUp


async def test_who_signs_up_gets_in(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up("ada@example.com")

    assert (await client4.get("/documents")).status_code == 401
    assert (await client4.get("/documents", headers=headers)).status_code == 200
    assert (await client4.get("/users", headers=headers)).status_code == 403
