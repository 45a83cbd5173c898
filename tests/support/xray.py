"""Reads the X-ray of a request, as its page does."""

import asyncio
from typing import Any

import httpx2

Row = dict[str, Any]


async def rows_of(client: httpx2.AsyncClient, response: httpx2.Response, *kinds: str) -> list[Row]:
    """Return the rows of a request, once they have these kinds and none goes on."""
    path = f"/xray/requests/{response.headers['X-Request-ID']}"
    headers = {name: value for name, value in response.request.headers.items() if name == "authorization"}
    async with asyncio.timeout(60):
        while True:
            rows: list[Row] = (await client.get(path, headers=headers)).raise_for_status().json()["rows"]
            if set(kinds) <= {row["kind"] for row in rows} and all(row["status"] != "open" for row in rows):
                return rows
            await asyncio.sleep(0.05)


def of_kind(rows: list[Row], kind: str) -> list[Row]:
    """Return the rows of a kind."""
    return [row for row in rows if row["kind"] == kind]
