"""Versions of documents: search results during a replacement, and the history."""

import asyncio
import threading
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from tests.support.documents import finished, found, ready, rows, upload
from tests.support.scripted_model import ScriptedModel, embeds, until_released
from tests.support.until import until

OLD, NEW = "The heron nests in the oak.", "The heron nests in the reeds."


async def replace(
    client: httpx2.AsyncClient, document: dict[str, Any], content: str, name: str = "new.txt", status: int = 202
) -> dict[str, Any]:
    response = await client.post(f"/documents/{document['id']}/versions", files={"file": (name, content.encode())})
    assert response.status_code == status, response.text
    version: dict[str, Any] = response.json()
    return version


async def versions_of(client: httpx2.AsyncClient, document: dict[str, Any]) -> list[tuple[int, str, str]]:
    items = (await client.get(f"/documents/{document['id']}/versions")).json()["items"]
    return [(item["version"], item["status"], item["filename"]) for item in items]


async def test_new_version_is_found_instead_of_the_old_one(
    client3: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    document = await ready(client3, OLD, "old.txt")
    url = f"/documents/{document['id']}"
    await client3.patch(url, json={"tags": ["birds"], "metadata": {"year": 2024}})
    released = threading.Event()
    model.embeds(until_released(released, embeds()))

    version = await replace(client3, document, NEW)

    assert (version["version"], version["status"], version["replaced_at"]) == (2, "processing", None)
    waiting = (await client3.get(url)).json()
    assert (waiting["version"], waiting["status"], waiting["new_version"]) == (1, "ready", "processing")
    (item,) = (await client3.get("/documents")).json()["items"]
    assert item == waiting
    model.embeds(embeds())
    assert [hit["text"] for hit in await found(client3, "heron")] == [OLD]
    await client3.patch(url, json={"metadata": {"final": True}})  # of the document, not of a version
    released.set()
    done = await finished(client3, document)
    assert (done["id"], done["version"], done["filename"]) == (document["id"], 2, "new.txt")
    assert (done["tags"], done["metadata"]) == (["birds"], {"year": 2024, "final": True})
    (hit,) = await found(client3, "heron")
    assert (hit["text"], hit["document_id"], hit["filename"]) == (NEW, document["id"], "new.txt")
    for scope in ({"document_ids": [document["id"]]}, {"filter": {"tags": ["birds"]}}):
        assert [one["chunk_id"] for one in await found(client3, "heron", **scope)] == [hit["chunk_id"]]
    assert (await client3.get(f"{url}/file")).text == NEW
    (chunk,) = (await client3.get(f"{url}/chunks")).json()["items"]
    assert (chunk["id"], chunk["text"]) == (hit["chunk_id"], NEW)
    assert await versions_of(client3, document) == [(2, "ready", "new.txt"), (1, "replaced", "old.txt")]
    await until(lambda: rows(database_url, "documents") == 1)
    assert [rows(database_url, table) for table in ("chunks", "document_parts", "corpora")] == [1, 1, 1]
    assert rows(database_url, "postings") == rows(database_url, "terms")
    assert (await upload(client3, OLD, "old.txt"))["id"] != document["id"]  # nothing has this content any more


async def test_failed_version_leaves_the_document_as_it_was(client3: httpx2.AsyncClient) -> None:
    document = await ready(client3, OLD, "old.txt")

    await replace(client3, document, "%PDF-1.7 and nothing more", "broken.pdf")
    failed = await finished(client3, document)
    repeated = await replace(client3, document, "%PDF-1.7 and nothing more", "broken.pdf")
    again = await finished(client3, document)

    assert (failed["version"], failed["status"], repeated["status"]) == (2, "failed", "processing")
    assert failed["error"] == again["error"] != ""
    current = (await client3.get(f"/documents/{document['id']}")).json()
    assert (current["version"], current["status"], current["new_version"]) == (1, "ready", "failed")
    assert [hit["text"] for hit in await found(client3, "heron")] == [OLD]
    assert await versions_of(client3, document) == [(2, "failed", "broken.pdf"), (1, "ready", "old.txt")]
    await replace(client3, document, NEW)
    await finished(client3, document)
    assert await versions_of(client3, document) == [(2, "ready", "new.txt"), (1, "replaced", "old.txt")]


async def test_content_that_exists_is_no_new_version(client3: httpx2.AsyncClient) -> None:
    document = await ready(client3, OLD, "old.txt")
    await ready(client3, NEW, "other.txt")

    same = await replace(client3, document, OLD, "copy.txt", status=200)
    conflict = await replace(client3, document, NEW, status=409)

    assert (same["version"], same["filename"]) == (1, "old.txt")
    assert conflict["detail"] == "You have another document with the same content."
    assert await versions_of(client3, document) == [(1, "ready", "old.txt")]


async def test_last_of_many_versions_at_once_stays(client3: httpx2.AsyncClient, database_url: str) -> None:
    document = await ready(client3, OLD, "old.txt")

    await asyncio.gather(*(replace(client3, document, f"The heron of version {i}.") for i in range(8)))
    last = await replace(client3, document, NEW)
    await finished(client3, document)

    assert [hit["text"] for hit in await found(client3, "heron")] == [NEW]
    assert (await versions_of(client3, document))[0] == (last["version"], "ready", "new.txt")
    await until(lambda: rows(database_url, "documents") == 1)
    assert rows(database_url, "chunks") == 1


_PUBLISH = """
    UPDATE documents SET status = 'deleted' WHERE NOT replaces;
    UPDATE documents SET replaces = false WHERE replaces;
"""


async def test_document_can_be_changed_while_a_new_version_is_published(
    client3: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    document = await ready(client3, OLD, "old.txt")
    released = threading.Event()
    model.embeds(until_released(released, embeds()))
    await replace(client3, document, NEW)

    with psycopg.connect(database_url) as publisher, psycopg.connect(database_url, autocommit=True) as observer:
        publisher.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 3))", [document["id"]])
        publisher.execute(_PUBLISH)
        change = asyncio.create_task(client3.patch(f"/documents/{document['id']}", json={"tags": ["birds"]}))
        await until(lambda: observer.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount > 0)
        publisher.commit()
    changed = await change
    released.set()

    assert changed.status_code == 200, changed.text
    done = await finished(client3, document)
    assert (done["version"], done["tags"]) == (2, ["birds"])


async def test_new_version_is_published_without_an_old_one(
    client3: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    """A process of an earlier release deletes only the current version, whose id it knows."""
    document = await ready(client3, OLD, "old.txt")
    released = threading.Event()
    model.embeds(until_released(released, embeds()))
    await replace(client3, document, NEW)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE documents SET status = 'deleted' WHERE NOT replaces")
    released.set()

    done = await finished(client3, document)

    assert (done["version"], done["status"]) == (2, "ready")


async def test_deletion_includes_all_versions(
    client3: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    document = await ready(client3, OLD, "old.txt")
    await replace(client3, document, NEW)
    await finished(client3, document)
    released = threading.Event()
    model.embeds(until_released(released, embeds()))
    await replace(client3, document, "The heron is gone.")

    assert (await client3.delete(f"/documents/{document['id']}")).status_code == 204
    released.set()

    assert (await client3.get(f"/documents/{document['id']}/versions")).status_code == 404
    await until(lambda: rows(database_url, "documents") == 0)
    assert [rows(database_url, table) for table in ("past_versions", "chunks", "terms")] == [0, 0, 0]


async def test_invalid_versions_are_rejected(client3: httpx2.AsyncClient) -> None:
    document = await ready(client3)
    path = f"/documents/{document['id']}/versions"
    file = ("a.txt", b"Text.")

    assert (await client3.post(f"/documents/{uuid4()}/versions", files={"file": file})).status_code == 404
    assert (await client3.post(path, files={"file": file}, data={"tags": "a"})).status_code == 422
    assert (await client3.post(path, files={"file": ("a.exe", b"MZ\x90\x00")})).status_code == 415
    large = await client3.post(path, files={"file": ("a.txt", b"x" * 2**21)})
    assert large.status_code == 202  # the limit of files, not that of other bodies
