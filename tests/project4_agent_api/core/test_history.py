"""The question history in Redis: the same in every process, and each account's own."""

import asyncio

import httpx2

from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in


async def newest(client: httpx2.AsyncClient, headers: dict[str, str]) -> str | None:
    items = (await client.get("/ask/history", headers=headers)).json()["items"]
    return items[0]["question"] if items else None


async def test_history_is_private_and_shared_across_processes(serve4: Serve) -> None:
    with serve4(history_size=3) as here, serve4(history_size=3) as there:
        async with (
            httpx2.AsyncClient(base_url=here, timeout=120, trust_env=False) as client,
            httpx2.AsyncClient(base_url=there, timeout=120, trust_env=False) as other,
        ):
            for email in ("ada@example.com", "bob@example.com"):
                await register(client, email)
            ada, bob = [bearer(await sign_in(client, email)) for email in ("ada@example.com", "bob@example.com")]
            for i in range(5):
                answer = await (client, other)[i % 2].post("/ask", json={"question": f"{i}?"}, headers=ada)
                assert answer.status_code == 200
                async with asyncio.timeout(120):
                    while await newest(client, ada) != f"{i}?":  # it is written after the answer
                        pass

            of_ada = [(await one.get("/ask/history", headers=ada)).json() for one in (client, other)]
            of_bob = [(await one.get("/ask/history", headers=bob)).json() for one in (client, other)]

    assert of_ada[0] == of_ada[1]
    assert [item["question"] for item in of_ada[0]["items"]] == ["4?", "3?", "2?"]
    assert of_bob == [{"items": []}, {"items": []}]


async def test_questions_are_answered_without_redis(serve4: Serve) -> None:
    with serve4(redis_url="redis://127.0.0.1:1") as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, "ada@example.com")
            ada = bearer(await sign_in(client, "ada@example.com"))

            assert (await client.post("/ask", json={"question": "Well?"}, headers=ada)).status_code == 200
            history = await client.get("/ask/history", headers=ada)

    assert (history.status_code, history.json()["type"]) == (503, "urn:problem:redis-unavailable")


async def test_questions_are_answered_with_redis_full(serve4: Serve, full_redis_url: str) -> None:
    with serve4(redis_url=full_redis_url) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, "ada@example.com")
            ada = bearer(await sign_in(client, "ada@example.com"))

            answers = [await client.post("/ask", json={"question": "Well?"}, headers=ada) for _ in range(3)]

            assert [answer.status_code for answer in answers] == [200] * 3
            assert len({answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}) == 1
            assert (await client.get("/ask/history", headers=ada)).json() == {"items": []}
