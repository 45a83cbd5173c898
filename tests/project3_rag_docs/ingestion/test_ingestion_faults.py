"""Faults while a document is read: the embedding model unavailable, the process killed, the database gone."""

import asyncio
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import psycopg
import pytest

from project3_rag_docs.settings import Settings
from tests.support.databases import Databases
from tests.support.documents import finished, found, ready, rows, upload
from tests.support.embedding_endpoint import (
    LLAMA_TOO_LONG,
    OPENAI_TOO_LONG,
    TEI_BATCH,
    TEI_TOO_LONG,
    Refusal,
    endpoint,
)
from tests.support.long_document import LONG, embeds_before
from tests.support.processes import served
from tests.support.scripted_model import Behaviour, ScriptedModel, embeds, fails, hangs, in_turn, sends
from tests.support.until import until

pytestmark = pytest.mark.slow

Serve = Callable[..., AbstractContextManager[str]]


def orphans(database_url: str) -> list[int]:
    """How many chunks, postings and pieces of files belong to no document; and chunks that are there twice."""
    statements = [
        "SELECT count(*) FROM chunks WHERE document_id NOT IN (SELECT id FROM documents)",
        """SELECT count(*) FROM postings WHERE (document, chunk) NOT IN
            (SELECT number, index FROM documents JOIN chunks ON document_id = documents.id)""",
        "SELECT count(*) FROM document_parts WHERE document_id NOT IN (SELECT id FROM documents)",
        "SELECT count(*) - count(DISTINCT (document_id, index)) FROM chunks",
    ]
    with psycopg.connect(database_url) as connection:
        return [int((connection.execute(statement).fetchone() or (0,))[0]) for statement in statements]


@pytest.mark.parametrize("behaviour", [fails(500), fails(429), hangs(), sends(b"no JSON")])
async def test_ingestion_waits_for_an_unavailable_model(
    serve3: Serve, model: ScriptedModel, database_url: str, behaviour: Behaviour
) -> None:
    with serve3(llm_timeout_seconds=3, embedding_batch_size=8) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            model.embeds(embeds_before(16, behaviour))
            document = await upload(client, LONG, "long.md")
            await until(lambda: len(model.embedded) >= 5)  # two, two more, and it has tried again
            await until(lambda: rows(database_url, "chunks") == 16)
            assert (await client.get(f"/documents/{document['id']}")).json()["status"] == "processing"
            model.embeds(embeds())

            done = await finished(client, document)

    assert (done["status"], done["chunk_count"]) == ("ready", 60)
    assert orphans(database_url) == [0, 0, 0, 0]


async def test_permanently_unavailable_model_fails_the_document(
    serve3: Serve, model: ScriptedModel, database_url: str
) -> None:
    with serve3(ingestion_patience_seconds=0.5, embedding_batch_size=8) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            model.embeds(embeds_before(16, fails(500)))
            document = await upload(client, LONG, "long.md")
            failed = await finished(client, document)
            model.embeds(embeds())
            nothing = await found(client, "herons")
            stored = rows(database_url, "chunks")
            seen = len(model.embedded)

            again = await upload(client, LONG, "long.md")
            done = await finished(client, again)

    assert failed["status"] == "failed"
    assert failed["error"].startswith("The document could not be embedded: The model endpoint")
    assert nothing == []
    assert (again["id"], done["status"], done["chunk_count"]) == (document["id"], "ready", 60)
    embedded_again = sum(len(seen.body["input"]) for seen in model.embedded[seen:])
    assert embedded_again == 60 - stored  # it went on where it was
    assert orphans(database_url) == [0, 0, 0, 0]


async def test_vectors_of_another_length_fail_the_document(serve3: Serve, model: ScriptedModel) -> None:
    model.embeds(embeds(768))
    with serve3(ingestion_patience_seconds=0.5) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            failed = await finished(client, await upload(client))

    assert "vectors of length 768; 384 expected" in failed["error"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param(
            fails(400, error={"code": "content_filter", "message": "no"}),
            "The content filter of the embedding model rejects a part of it.",
            id="filtered",
        ),
        pytest.param(
            endpoint(max_characters=0), "A passage is too long for the embedding model, also in parts.", id="too long"
        ),
        pytest.param(
            fails(400, error={"param": "input_type", "message": "Missing required parameter"}),
            "The model endpoint refused the call. Upload the file again when an administrator has corrected this.",
            id="parameter",
        ),
        pytest.param(
            fails(400, error={"message": "Error in input: content must be a string"}),
            "The embedding model does not take a part of it.",
            id="kind",
        ),
        pytest.param(
            embeds(768),
            "e returns vectors of length 768; 384 expected. "
            "Upload the file again when an administrator has corrected this.",
            id="length",
        ),
    ],
)
async def test_permanent_refusal_fails_the_document_at_once(
    serve3: Serve, model: ScriptedModel, behaviour: Behaviour, words: str
) -> None:
    model.embeds(behaviour)
    with serve3(ingestion_patience_seconds=600) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            failed = await finished(client, await upload(client))

    assert failed["error"] == f"The document could not be embedded: {words}"


@pytest.mark.parametrize("behaviour", [fails(401), fails(402)], ids=["key", "quota"])
async def test_ingestion_waits_for_a_renewed_key_or_quota(
    serve3: Serve, model: ScriptedModel, behaviour: Behaviour
) -> None:
    model.embeds(in_turn(behaviour, embeds()))
    with serve3() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            done = await finished(client, await upload(client))

    assert done["status"] == "ready"


@pytest.mark.parametrize("too_long", [OPENAI_TOO_LONG, TEI_TOO_LONG, LLAMA_TOO_LONG], ids=["openai", "tei", "llama"])
async def test_long_passages_are_embedded_in_parts(serve3: Serve, model: ScriptedModel, too_long: Refusal) -> None:
    model.embeds(endpoint(max_characters=200, too_long=too_long, max_batch=4, too_many=TEI_BATCH))
    with serve3() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            done = await finished(client, await upload(client, LONG, "long.md"))
            hits = await found(client, "Where do the herons stand in the evening? " * 8)

    assert (done["status"], done["chunk_count"]) == ("ready", 60)
    assert hits
    assert max(len(text) for request in model.embedded[-2:] for text in request.body["input"]) <= 400


def process(settings: Settings) -> AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
    """Stage 3 as a process of its own; gives its URL and the process."""
    names = ("openai_base_url", "llm_model", "embedding_model", "database_url", "embedding_batch_size", "log_level")
    return served("project3_rag_docs", {name.upper(): str(getattr(settings, name)) for name in names})


async def test_killed_process_loses_nothing(
    make_settings3: Callable[..., Settings], model: ScriptedModel, database_url: str
) -> None:
    settings = make_settings3(embedding_batch_size=4)
    model.embeds(in_turn(*[embeds()] * 8, hangs()))
    with process(settings) as (url, running):
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            documents = [await upload(client, f"{LONG}\n\n{i}", f"{i}.md") for i in range(3)]
            await upload(client, b"%PDF-1.4 broken", "broken.pdf")
            await until(lambda: rows(database_url, "chunks") >= 8)
        running.send_signal(signal.SIGKILL)
        running.wait(120)
    stored = rows(database_url, "chunks")
    assert 0 < stored < 180
    model.embeds(embeds())
    seen = len(model.embedded)

    with process(settings) as (url, _):
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            done = [await finished(client, document) for document in documents]
            await until(lambda: rows(database_url, "procrastinate_jobs") == 0)
            everything = (await client.get("/documents")).json()["items"]

    assert [(one["status"], one["chunk_count"]) for one in done] == [("ready", 60)] * 3
    assert sorted(one["status"] for one in everything) == ["failed", "ready", "ready", "ready"]
    assert orphans(database_url) == [0, 0, 0, 0]
    assert sum(len(one.body["input"]) for one in model.embedded[seen:]) <= 180 - stored + 8  # no work done twice


async def test_stopped_process_hands_over_its_work(
    make_settings3: Callable[..., Settings], model: ScriptedModel, database_url: str
) -> None:
    settings = make_settings3(embedding_batch_size=4)
    model.embeds(embeds(delay=0.2))
    with process(settings) as (url, running):
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            document = await upload(client, LONG, "long.md")
            await until(lambda: rows(database_url, "chunks") >= 8)
        running.terminate()
        assert running.wait(120) == 0
    model.embeds(embeds())

    with process(settings) as (url, _):
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            done = await finished(client, document)

    assert (done["status"], done["chunk_count"]) == ("ready", 60)


async def test_resumed_worker_writes_nothing(
    make_settings3: Callable[..., Settings], model: ScriptedModel, database_url: str
) -> None:
    """It was frozen until another process took its job; when it resumes, it must notice that and stop."""
    settings = make_settings3(embedding_batch_size=4)
    model.embeds(embeds(delay=0.3))
    with process(settings) as (first, running):
        async with httpx2.AsyncClient(base_url=first, timeout=120, trust_env=False) as client:
            document = await upload(client, LONG, "long.md")
            await until(lambda: rows(database_url, "chunks") >= 8)
        running.send_signal(signal.SIGSTOP)
        try:
            with process(settings) as (second, _):
                async with httpx2.AsyncClient(base_url=second, timeout=120, trust_env=False) as client:
                    stored = rows(database_url, "chunks")
                    await until(lambda: rows(database_url, "chunks") > stored + 8)
                    running.send_signal(signal.SIGCONT)
                    done = await finished(client, document)
                    hits = await found(client, "herons", k=50)
        finally:
            running.send_signal(signal.SIGCONT)

    assert (done["status"], done["chunk_count"]) == ("ready", 60)
    assert len(hits) == 50
    assert orphans(database_url) == [0, 0, 0, 0]


async def test_answer_reports_an_unavailable_database(
    client3: httpx2.AsyncClient, database_url: str, databases: Databases
) -> None:
    await ready(client3)
    name = database_url.rpartition("/")[2]
    with psycopg.connect(databases.server_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        answers = await asyncio.gather(
            client3.get("/documents"),
            client3.post("/documents", files={"file": ("a.txt", b"A text.")}),
            client3.post("/documents/search", json={"query": "x"}),
            client3.post("/documents/ask", json={"question": "x"}),
        )
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

    assert [answer.status_code for answer in answers] == [503, 503, 503, 503]
    document = await ready(client3, "A text that comes afterwards.", "after.txt")  # the worker has come back too
    assert document["status"] == "ready"
