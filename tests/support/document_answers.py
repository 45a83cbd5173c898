"""Questions about documents, answered whole or streamed."""

from typing import Any

import httpx2

from tests.support.sse import events_of


async def ask(client: httpx2.AsyncClient, question: str, **more: Any) -> dict[str, Any]:
    response = await client.post("/documents/ask", json={"question": question} | more)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def ask_stream(client: httpx2.AsyncClient, question: str) -> list[tuple[str, Any]]:
    async with client.stream("POST", "/documents/ask/stream", json={"question": question}) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in events_of(response)]
