"""A client's disconnect cancels the block that waits for it, and nothing else does."""

import asyncio
from typing import Any

import pytest
from fastapi import Request

from shared.errors import ClientClosedRequest
from shared.streaming import cancel_on_disconnect


class Client:
    """Messages of the server about a client: an empty body, and `http.disconnect` once it has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self._read = False

    async def receive(self) -> dict[str, Any]:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    def request(self) -> Request:
        return Request({"type": "http", "method": "GET", "path": "/", "headers": []}, self.receive)


async def test_block_of_a_connected_client_runs_to_its_end() -> None:
    steps = []

    async with asyncio.timeout(5), cancel_on_disconnect(Client().request()):
        await asyncio.sleep(0.01)
        steps.append("end of the block")

    assert steps == ["end of the block"]


async def test_disconnect_cancels_the_block() -> None:
    client = Client()
    asyncio.get_running_loop().call_later(0.01, client.left.set)

    with pytest.raises(ClientClosedRequest):
        async with asyncio.timeout(5), cancel_on_disconnect(client.request()):
            await asyncio.sleep(10)


async def test_timeout_of_the_block_is_not_a_disconnect() -> None:
    with pytest.raises(TimeoutError, match="the block's own"):
        async with cancel_on_disconnect(Client().request()):
            raise TimeoutError("the block's own")
