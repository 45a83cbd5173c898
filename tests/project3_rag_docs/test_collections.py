"""Collections: named sets of documents, in lists, searches and uploads."""

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from tests.support.documents import finished, found, ready
from tests.support.until import until


async def collection(client: httpx2.AsyncClient, name: str, status: int = 201) -> dict[str, Any]:
    response = await client.post("/collections", json={"name": name})
    assert response.status_code == status, response.text
    made: dict[str, Any] = response.json()
    return made


def some_wait_for_locks(observer: psycopg.Connection) -> bool:
    return observer.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount > 0


async def test_documents_are_found_by_collection(client3: httpx2.AsyncClient) -> None:
    birds, trees = await collection(client3, "Birds"), await collection(client3, "Trees")
    heron = await ready(client3, "The heron nests by the river.", "heron.txt")
    form = {"collection_id": trees["id"]}
    willow = (
        await client3.post("/documents", files={"file": ("willow.txt", b"The willow grows by the river.")}, data=form)
    ).json()
    await finished(client3, willow)
    await ready(client3, "The bridge is by the river.", "bridge.txt")

    moved = await client3.patch(f"/documents/{heron['id']}", json={"collection_id": birds["id"]})

    assert (moved.json()["collection_id"], willow["collection_id"]) == (birds["id"], trees["id"])
    for ids, names in (
        ([birds["id"]], {"heron.txt"}),
        ([birds["id"], trees["id"]], {"heron.txt", "willow.txt"}),
        ([str(uuid4())], set()),
    ):
        hits = await found(client3, "by the river", filter={"collection_ids": ids})
        assert {hit["filename"] for hit in hits} == names
    listed = (await client3.get("/documents", params={"collection_id": trees["id"]})).json()["items"]
    assert [item["filename"] for item in listed] == ["willow.txt"]
    await client3.post(f"/documents/{heron['id']}/versions", files={"file": ("new.txt", b"The heron left the river.")})
    assert (await finished(client3, heron))["collection_id"] == birds["id"]
    await client3.patch(f"/documents/{willow['id']}", json={"collection_id": None})
    assert await found(client3, "by the river", filter={"collection_ids": [trees["id"]]}) == []


async def test_collection_is_renamed_and_deleted(client3: httpx2.AsyncClient) -> None:
    birds, trees = await collection(client3, "Birds"), await collection(client3, "trees")
    document = await ready(client3)
    await client3.patch(f"/documents/{document['id']}", json={"collection_id": birds["id"]})
    path = f"/collections/{birds['id']}"

    renamed = await client3.patch(path, json={"name": "Vögel"})

    assert (await client3.get(path)).json() == renamed.json() == {**birds, "name": "Vögel"}
    assert (await client3.get("/collections")).json()["items"] == [trees, renamed.json()]
    assert (await collection(client3, "trees", status=409))["detail"] == "You have a collection with this name."
    assert (await client3.patch(path, json={"name": "trees"})).status_code == 409
    assert (await client3.delete(path)).status_code == 204
    assert (await client3.get(f"/documents/{document['id']}")).json()["collection_id"] is None
    for method in ("GET", "DELETE"):
        assert (await client3.request(method, path)).status_code == 404
    unknown = await client3.patch(f"/documents/{document['id']}", json={"collection_id": birds["id"]})
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "There is no collection with this id.")
    file = {"file": ("other.txt", b"Another text.")}
    refused = await client3.post("/documents", files=file, data={"collection_id": birds["id"]})
    assert refused.status_code == 404
    assert len((await client3.get("/documents")).json()["items"]) == 1
    for name in ("", "x" * 101, " "):
        assert (await client3.post("/collections", json={"name": name})).status_code == 422


async def test_collection_that_is_deleted_at_the_same_time_is_not_found(
    client3: httpx2.AsyncClient, database_url: str
) -> None:
    document = await ready(client3)
    for path, name in ((f"/documents/{document['id']}", "collection_id"), ("/collections/{id}", "name")):
        made = await collection(client3, "Birds")
        with psycopg.connect(database_url) as deleting, psycopg.connect(database_url, autocommit=True) as observer:
            deleting.execute("DELETE FROM collections")
            body = {name: made["id"]}
            change = asyncio.create_task(client3.patch(path.format(id=made["id"]), json=body))
            await until(partial(some_wait_for_locks, observer))
            deleting.commit()
        changed = await change
        assert (changed.status_code, changed.json()["detail"]) == (404, "There is no collection with this id.")
