"""Stage 3 in front of a real chat model, and of a real embedding model that reads 512 tokens."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from local.model_server.language_models import QWEN
from tests.real_model.llama import ROOT
from tests.support.databases import Databases
from tests.support.document_answers import ask_stream
from tests.support.documents import found, ready
from tests.support.processes import served

PACKAGE = "project3_rag_docs"
SAMPLES = ROOT / "examples" / "documents"


@pytest.fixture
async def http(
    environment: dict[str, str], embeddings: dict[str, str], databases: Databases
) -> AsyncIterator[httpx2.AsyncClient]:
    with databases.migrated(PACKAGE) as database_url:
        variables = environment | embeddings | {"DATABASE_URL": database_url}
        with served(PACKAGE, variables) as (url, _):
            async with httpx2.AsyncClient(base_url=url, timeout=600, trust_env=False) as http:
                yield http


async def test_documents_are_asked_in_two_languages(http: httpx2.AsyncClient) -> None:
    for name in ("handbook.md", "员工手册.docx"):
        await ready(http, (SAMPLES / name).read_bytes(), name)
    uploaded = {document["id"] for document in (await http.get("/documents")).json()["items"]}

    for question in ("How many days of vacation do employees get?", "出差期间每天餐补多少？"):
        whole = await http.post("/documents/ask", json={"question": question})
        events = await ask_stream(http, question)

        answer = whole.json()
        assert whole.status_code == 200, whole.text
        assert answer["answer"].strip()
        assert answer["model"] == QWEN
        sources = [(name, data) for name, data in events if name == "sources"]
        assert [name for name, _ in events][:1] == ["sources"] == [name for name, _ in sources]
        assert events[-1][0] == "done", events[-1]
        for citation in answer["citations"] + events[-1][1]["citations"]:
            assert citation["document_id"] in uploaded
            assert f"[{citation['marker']}]" in answer["answer"] + "".join(
                data["text"] for name, data in events if name == "token"
            )


@pytest.mark.parametrize("text", ["ⓐⓑⓒ🦜龘" * 400, "https://example.com/" + "a1b2" * 800, "水" * 3000])
async def test_passages_beyond_the_embedders_context_are_found(http: httpx2.AsyncClient, text: str) -> None:
    """A passage of normal length may have more tokens than the embedding model reads."""
    document = await ready(http, f"The heron lives here.\n\n{text}\n", "dense.txt")

    assert document["chunk_count"] >= 1
    assert (await found(http, "heron"))[0]["document_id"] == document["id"]
