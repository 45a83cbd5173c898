"""Another embedding model: refused at start on the index that is there, and taken over by `reindex`."""

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import psycopg
import pytest

from project3_rag_docs.settings import Settings
from tests.support.databases import differences
from tests.support.documents import finished, found, ready, rows, upload
from tests.support.long_document import LONG, embeds_before
from tests.support.processes import run
from tests.support.scripted_model import Behaviour, Connection, ScriptedModel, embeds, fails
from tests.support.until import until

pytestmark = pytest.mark.slow

Serve = Callable[..., AbstractContextManager[str]]
NAMES = ("openai_base_url", "llm_model", "llm_max_retries", "database_url")


def command(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {name.upper(): str(getattr(settings, name)) for name in NAMES} | more
    return run("project3_rag_docs", *arguments, environment=environment)


@pytest.fixture
async def stored(serve3: Serve, model: ScriptedModel) -> None:
    """Forty documents, embedded by model `e`."""
    assert model is not None
    with serve3() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await ready(client, "\n\n".join(f"# Part {i}\n\nHeron number {i}." for i in range(40)), "herons.md")


async def test_other_embedding_model_is_rejected_in_one_line(
    make_settings3: Callable[..., Settings], stored: None
) -> None:
    assert stored is None
    for changed in ({"EMBEDDING_MODEL": "other"}, {"EMBEDDING_MODEL": "e", "EMBEDDING_DIMENSIONS": "256"}):
        refused = command(make_settings3(), PORT="0", **changed)

        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert "the documents were embedded by e (384 dimensions)" in refused.stderr
        assert "the command `reindex`" in refused.stderr
        assert "`make reindex-project3`" in refused.stderr


async def test_vectors_that_do_not_fit_are_rejected_in_one_line(
    make_settings3: Callable[..., Settings], model: ScriptedModel
) -> None:
    model.embeds(embeds(4096))
    for more in ({}, {"EMBEDDING_DIMENSIONS": "1024"}):
        refused = command(make_settings3(), PORT="0", EMBEDDING_MODEL="e", **more)

        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert "e returns vectors of length 4096" in refused.stderr
        assert "EMBEDDING_DIMENSIONS" in refused.stderr


async def test_too_many_dimensions_are_rejected_in_one_line(make_settings3: Callable[..., Settings]) -> None:
    refused = command(make_settings3(), PORT="0", EMBEDDING_MODEL="e", EMBEDDING_DIMENSIONS="4096")

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "EMBEDDING_DIMENSIONS: the index takes at most 4,000" in refused.stderr


async def test_index_without_a_row_adopts_the_configured_model(
    serve3: Serve, make_settings3: Callable[..., Settings], model: ScriptedModel, database_url: str
) -> None:
    model.embeds(embeds(256))
    with serve3(embedding_dimensions=256) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await ready(client)
            assert len(await found(client, "library")) == 1
    assert make_settings3().embedding_dimensions == 384
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT model, dimensions FROM search_index").fetchone() == ("e", 256)


async def test_running_service_detects_another_model(serve3: Serve, database_url: str, stored: None) -> None:
    assert stored is None
    with serve3() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            with psycopg.connect(database_url) as connection:
                connection.execute("UPDATE search_index SET model = 'other'")
            response = await client.post("/documents/search", json={"query": "heron"})

    assert response.status_code == 503
    assert response.json()["type"] == "urn:problem:not-ready"


async def test_reindexing_resumes_and_switches_atomically(
    serve3: Serve, make_settings3: Callable[..., Settings], model: ScriptedModel, database_url: str, stored: None
) -> None:
    assert stored is None
    settings = make_settings3()
    new = {"EMBEDDING_MODEL": "other", "EMBEDDING_DIMENSIONS": "256", "EMBEDDING_BATCH_SIZE": "8"}
    model.embeds(fails(500))
    failed = command(settings, "reindex", **new)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == "error: The model endpoint failed."
    with serve3() as url:  # all is as it was
        model.embeds(embeds(384))
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            assert (await found(client, "Heron number 17"))[0]["heading"] == "Part 17"
    model.embeds(embeds(256))

    done = command(settings, "reindex", **new)

    assert done.returncode == 0, done.stderr
    assert "40 of 40 chunks" in done.stdout
    with serve3(embedding_model="other", embedding_dimensions=256) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            assert (await found(client, "Heron number 17"))[0]["heading"] == "Part 17"
    assert "nothing to do" in command(settings, "reindex", **new).stdout
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'reembedded%'").fetchone()
        indexes = connection.execute(
            "SELECT count(*) FROM pg_indexes WHERE indexname IN ('ix_chunks_embedding_en', 'ix_chunks_embedding_zh')"
        ).fetchone()
    assert (tables, indexes, rows(database_url, "chunks")) == ((0,), (2,), 40)
    assert [kind for ((kind, *_),) in differences(database_url, "project3_rag_docs")] == ["modify_type"]


def by_name(**behaviours: Behaviour) -> Behaviour:
    """Do what each model does."""

    async def behave(connection: Connection) -> None:
        await behaviours[connection.seen.body["model"]](connection)

    return behave


def postponed(database_url: str) -> int:
    """How many jobs were tried, and have to wait."""
    with psycopg.connect(database_url) as connection:
        jobs = connection.execute("SELECT FROM procrastinate_jobs WHERE status = 'todo' AND attempts > 0")
        return len(jobs.fetchall())


@pytest.mark.parametrize("dimensions", [384, 256])
async def test_partly_ingested_document_waits_for_the_new_model(
    serve3: Serve,
    make_settings3: Callable[..., Settings],
    model: ScriptedModel,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    dimensions: int,
) -> None:
    monkeypatch.setattr("project3_rag_docs.ingestion.job._MAX_WAIT_SECONDS", 1.0)
    new = {"EMBEDDING_MODEL": "other", "EMBEDDING_DIMENSIONS": str(dimensions)}
    with serve3(embedding_batch_size=8) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            model.embeds(embeds_before(16, fails(500)))
            document = await upload(client, LONG, "long.md")
            await until(lambda: rows(database_url, "chunks") == 16)
            model.embeds(by_name(e=fails(500), other=embeds(dimensions)))
            reindexed = command(make_settings3(), "reindex", **new)
            assert reindexed.returncode == 0, reindexed.stderr
            model.embeds(by_name(e=embeds(384), other=embeds(dimensions)))
            await until(lambda: postponed(database_url) == 1)
    assert rows(database_url, "chunks") == 16

    with serve3(embedding_model="other", embedding_dimensions=dimensions) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            done = await finished(client, document)

    assert (done["status"], done["chunk_count"]) == ("ready", 60)
