"""Reads server-sent events."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx2


async def events_of(response: httpx2.Response) -> AsyncIterator[tuple[str, Any]]:
    """Give each event's name and its data, as they arrive."""
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith(":"):
            continue  # a sign of life
        if line:
            lines.append(line)
        elif lines:
            yield parse(lines)
            lines = []


def events_in(body: str) -> list[tuple[str, Any]]:
    """Give the events of a stream that has ended."""
    return [parse(event.splitlines()) for event in body.split("\n\n") if event.strip().startswith("event")]


def parse(lines: Iterable[str]) -> tuple[str, Any]:
    fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
    return fields.get("event", "message"), json.loads(fields["data"])


async def ask_stream(client: httpx2.AsyncClient, **body: Any) -> list[tuple[str, Any]]:
    """Ask for a stream, and give all of its events."""
    async with client.stream("POST", "/ask/stream", json={"question": "Hi"} | body) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in events_of(response)]
