"""Documents uploaded through stage 3's API, and their chunks."""

from typing import Any

import httpx2
import psycopg
from psycopg import sql

from tests.support.sse import events_in

TEXT = "The library opens at nine. It closes at six.\n"


async def upload(
    client: httpx2.AsyncClient, content: str | bytes = TEXT, name: str = "hours.txt", status: int = 202
) -> dict[str, Any]:
    data = content.encode() if isinstance(content, str) else content
    response = await client.post("/documents", files={"file": (name, data)})
    assert response.status_code == status, response.text
    document: dict[str, Any] = response.json()
    return document


async def finished(client: httpx2.AsyncClient, document: dict[str, Any]) -> dict[str, Any]:
    """Wait until a document is ready or has failed, as its events tell."""
    response = await client.get(f"/documents/{document['id']}/events")
    assert response.status_code == 200, response.text
    name, last = events_in(response.text)[-1]
    assert name == last["status"] != "processing"
    found: dict[str, Any] = last
    return found


async def ready(client: httpx2.AsyncClient, content: str | bytes = TEXT, name: str = "hours.txt") -> dict[str, Any]:
    document = await finished(client, await upload(client, content, name))
    assert document["status"] == "ready", document
    return document


async def found(client: httpx2.AsyncClient, query: str, **more: Any) -> list[dict[str, Any]]:
    response = await client.post("/documents/search", json={"query": query} | more)
    assert response.status_code == 200, response.text
    hits: list[dict[str, Any]] = response.json()["hits"]
    return hits


def rows(database_url: str, table: str) -> int:
    with psycopg.connect(database_url) as connection:
        (count,) = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone() or (
            0,
        )
    return int(count)
