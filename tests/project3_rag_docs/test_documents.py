"""Documents: uploads, races, deletion and rejected input."""

import asyncio
import threading
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from tests.support.documents import TEXT, finished, found, ready, rows, upload
from tests.support.scripted_model import ScriptedModel, embeds, in_turn, until_released
from tests.support.sse import events_of
from tests.support.until import until


async def test_uploaded_document_is_found(client3: httpx2.AsyncClient) -> None:
    response = await client3.post("/documents", files={"file": ("../../etc/hours.txt", TEXT.encode())})

    assert response.status_code == 202
    document = response.json()
    assert set(document) == {
        "id", "filename", "media_type", "size_bytes", "status", "progress", "chunk_count", "error", "notice",
        "created_at", "metadata", "tags", "queue_position", "version", "new_version",
        "collection_id",
    }  # fmt: skip
    assert (document["filename"], document["media_type"]) == ("hours.txt", "text/plain")
    assert (document["size_bytes"], document["status"], document["error"]) == (len(TEXT), "processing", None)
    done = await finished(client3, document)
    assert (done["status"], done["progress"], done["chunk_count"]) == ("ready", 1.0, 1)
    assert (await client3.get(response.headers["location"])).json() == done
    (hit,) = await found(client3, "When does the library open?")
    assert (hit["document_id"], hit["filename"], hit["page"]) == (document["id"], "hours.txt", None)
    assert hit["text"] == TEXT.strip()
    chunks = (await client3.get(f"/documents/{document['id']}/chunks")).json()["items"]
    assert [(chunk["id"], chunk["index"], chunk["text"]) for chunk in chunks] == [(hit["chunk_id"], 0, TEXT.strip())]


async def test_stored_file_is_unchanged(client3: httpx2.AsyncClient) -> None:
    content = ("<h1>Räume</h1><p>" + "Der Saal ist frei. " * 100_000).encode("utf-16")
    document = await upload(client3, content, "räume <b>.html")

    response = await client3.get(f"/documents/{document['id']}/file")

    assert response.content == content
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''r%C3%A4ume%20%3Cb%3E.html"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_repeated_content_is_the_same_document(client3: httpx2.AsyncClient, database_url: str) -> None:
    document = await ready(client3)

    again = await upload(client3, name="copy.txt", status=200)

    assert again == document
    assert rows(database_url, "documents") == 1


async def test_20_uploads_of_one_content_create_one_document(client3: httpx2.AsyncClient, database_url: str) -> None:
    answers = await asyncio.gather(
        *(client3.post("/documents", files={"file": (f"{i}.txt", TEXT.encode())}) for i in range(20))
    )

    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 19}
    assert len({answer.json()["id"] for answer in answers}) == 1
    await finished(client3, answers[0].json())
    assert (rows(database_url, "documents"), rows(database_url, "chunks")) == (1, 1)


async def test_progress_is_published_during_ingestion(
    patient_client3: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    told = [threading.Event() for _ in range(8)]
    two_each = [behaviour for event in told for behaviour in [until_released(event, embeds())] * 2]
    model.embeds(in_turn(*two_each, embeds()))  # the next two batches, which are under way at once, for each event
    long = "\n\n".join(f"Paragraph {i}. " + "More words follow here. " * 60 for i in range(80))
    document = await upload(patient_client3, long)

    events: list[tuple[str, Any]] = []
    async with patient_client3.stream("GET", f"/documents/{document['id']}/events") as response:
        async for event in events_of(response):
            events.append(event)
            if told:
                told.pop(0).set()

    progress = [data["progress"] for _, data in events]
    assert [name for name, _ in events[:-1]] == ["processing"] * (len(events) - 1)
    assert events[-1][0] == "ready"
    assert progress == sorted(progress)
    assert len(set(progress)) >= 4
    assert events[-1][1]["chunk_count"] >= 80


async def test_failed_document_has_a_reason_and_is_retried(client3: httpx2.AsyncClient) -> None:
    failed = await finished(client3, await upload(client3, b"%PDF-1.7 and nothing more", "broken.pdf"))

    assert failed["status"] == "failed"
    assert failed["error"]
    assert await found(client3, "nothing more") == []
    again = await upload(client3, b"%PDF-1.7 and nothing more", "broken.pdf")
    assert (again["id"], again["status"], again["error"]) == (failed["id"], "processing", None)
    assert (await finished(client3, again))["status"] == "failed"


async def test_deleted_document_is_not_found(client3: httpx2.AsyncClient, database_url: str) -> None:
    document = await ready(client3)
    other = await ready(client3, "The library has a garden.", "garden.txt")
    url = f"/documents/{document['id']}"

    deleted = await client3.delete(url)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [hit["document_id"] for hit in await found(client3, "library opens at nine")] == [other["id"]]
    for path in (url, f"{url}/chunks", f"{url}/file", f"{url}/events"):
        assert (await client3.get(path)).status_code == 404
    assert (await client3.delete(url)).status_code == 404
    await until(lambda: rows(database_url, "documents") == 1)
    assert (rows(database_url, "chunks"), rows(database_url, "document_parts")) == (1, 1)
    new = await ready(client3)
    assert new["id"] != document["id"]


async def test_deletion_during_ingestion_leaves_nothing(
    patient_client3: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    deleted = threading.Event()
    model.embeds(in_turn(embeds(), embeds(), until_released(deleted, embeds())))
    long = "\n\n".join(f"Paragraph {i}. " + "More words follow here. " * 60 for i in range(80))
    document = await upload(patient_client3, long)
    await until(lambda: rows(database_url, "chunks") > 0)

    assert (await patient_client3.delete(f"/documents/{document['id']}")).status_code == 204
    deleted.set()

    assert await found(patient_client3, "More words follow here") == []
    await until(lambda: rows(database_url, "documents") == 0)
    assert [rows(database_url, table) for table in ("chunks", "postings", "document_parts", "terms")] == [0, 0, 0, 0]


async def test_counts_are_correct_after_deletions(client3: httpx2.AsyncClient, database_url: str) -> None:
    documents = [await ready(client3, f"Text number {i} is about trees.", f"{i}.txt") for i in range(3)]
    await ready(client3, "图书馆早上九点开门。", "zh.txt")
    for document in documents[:2]:
        await client3.delete(f"/documents/{document['id']}")

    with psycopg.connect(database_url) as connection:
        counts = connection.execute("SELECT language, chunk_count, term_count FROM corpora ORDER BY 1").fetchall()
        true = connection.execute(
            "SELECT language, count(*), sum(term_count) FROM chunks JOIN documents ON documents.id = document_id"
            " WHERE status = 'ready' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert counts == true
    assert [row[:2] for row in counts] == [("en", 1), ("zh", 1)]

    def terms(of: str) -> list[tuple[int, int]]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(f"SELECT term, {of} ORDER BY term".encode()).fetchall()

    await until(lambda: rows(database_url, "documents") == 2)  # a worker removes the rest
    assert terms("chunk_count FROM terms") == terms("count(*) FROM postings GROUP BY term") != []
    for document in (await client3.get("/documents")).json()["items"]:
        await client3.delete(f"/documents/{document['id']}")
    await until(lambda: rows(database_url, "documents") == 0)
    assert [rows(database_url, table) for table in ("terms", "document_languages", "postings")] == [0, 0, 0]


async def test_documents_are_paginated_newest_first(client3: httpx2.AsyncClient) -> None:
    for i in range(5):
        await upload(client3, f"Document {i}.", f"{i}.txt")

    first = (await client3.get("/documents", params={"limit": 3})).json()
    second = (await client3.get("/documents", params={"limit": 3, "cursor": first["next_cursor"]})).json()

    assert [one["filename"] for one in first["items"] + second["items"]] == [f"{i}.txt" for i in (4, 3, 2, 1, 0)]
    assert second["next_cursor"] is None


async def test_chunks_are_paginated_in_order(client3: httpx2.AsyncClient) -> None:
    document = await ready(client3, "\n\n".join(f"# Part {i}\n\nText of part {i}." for i in range(7)), "parts.md")
    url = f"/documents/{document['id']}/chunks"
    chunks: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = (await client3.get(url, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        chunks += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert [chunk["index"] for chunk in chunks] == list(range(7))
    assert [chunk["heading"] for chunk in chunks] == [f"Part {i}" for i in range(7)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("program.exe", b"MZ\x90\x00"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00"),
        ("notes.txt", b"\x00\x01\x02\x03 binary"),
        ("old.doc", bytes.fromhex("d0cf11e0a1b11ae1") + b"\x00" * 100),
        ("archive.zip", b"PK\x03\x04" + b"\x00" * 100),
    ],
)
async def test_unsupported_media_types_are_415(client3: httpx2.AsyncClient, name: str, content: bytes) -> None:
    response = await client3.post("/documents", files={"file": (name, content)})

    assert response.status_code == 415
    assert response.json()["type"] == "urn:problem:unsupported-media-type"


async def test_form_without_a_file_is_rejected(client3: httpx2.AsyncClient) -> None:
    for given in ({"data": {"x": "1"}}, {"json": {"file": "x"}}, {"data": {"file": "no file"}}):
        response = await client3.post("/documents", **given)  # type: ignore[arg-type]  # httpx's arguments, by parameter
        assert response.status_code == 422
        assert response.json()["errors"][0]["loc"] == ["body", "file"]


async def test_form_with_extra_parts_is_rejected(client3: httpx2.AsyncClient) -> None:
    file = ("a.txt", b"Text.")
    for given in (
        {"files": [("file", file), ("file", file)]},
        {"files": {"file": file}, "data": {"title": "x"}},
    ):
        response = await client3.post("/documents", **given)
        assert response.status_code == 422
    assert (await client3.get("/documents")).json()["items"] == []


async def test_unknown_document_is_404(client3: httpx2.AsyncClient) -> None:
    for path in ("", "/chunks", "/file", "/events"):
        assert (await client3.get(f"/documents/{uuid4()}{path}")).status_code == 404
        assert (await client3.get(f"/documents/no-uuid{path}")).status_code == 422
