"""API keys: made once, shown once, good until they are deleted or expire."""

import httpx2

from tests.project4_agent_api.conftest import SignUp


async def test_a_key_is_good_until_it_is_deleted(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up()
    made = await client4.post("/auth/api-keys", json={"name": "nightly"}, headers=headers)
    assert made.status_code == 201, made.text
    with_key = {"x-api-key": made.json()["key"]}

    assert (await client4.get("/documents", headers=with_key)).status_code == 200
    assert (await client4.delete(f"/auth/api-keys/{made.json()['id']}", headers=headers)).status_code == 204
    assert (await client4.get("/documents", headers=with_key)).status_code == 401
