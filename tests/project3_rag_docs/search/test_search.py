"""Search: the hits and their order, in one language and across two, with filters of every size."""

import asyncio
import threading
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest

from project3_rag_docs.search.fusion import alternate, fuse, outstanding_cosines
from project3_rag_docs.search.rankings import RankedChunk
from shared.owner import LOCAL_OWNER_ID
from tests.support.documents import found, ready, rows, upload
from tests.support.scripted_model import (
    Connection,
    ScriptedModel,
    embedding_of,
    embeds,
    fails,
    hangs,
    in_turn,
    until_released,
)
from tests.support.until import until


async def test_search_uses_words_and_meaning(client3: httpx2.AsyncClient) -> None:
    await ready(client3, "The heron nests by the river.", "heron.txt")
    await ready(client3, "Invoice XJ-4471 was paid in May.", "invoice.txt")
    await ready(client3, "Rivers and herons are nesting grounds.", "grounds.txt")

    assert (await found(client3, "XJ-4471"))[0]["filename"] == "invoice.txt"
    assert {hit["filename"] for hit in (await found(client3, "a heron's nest"))[:2]} == {"heron.txt", "grounds.txt"}


async def test_headings_are_searched(client3: httpx2.AsyncClient) -> None:
    await ready(client3, "# Zeppelin\n\nIt rose slowly.\n\n# Balloon\n\nIt fell at once.", "flight.md")

    assert (await found(client3, "zeppelin"))[0]["heading"] == "Zeppelin"


async def test_chinese_is_found_without_spaces(client3: httpx2.AsyncClient) -> None:
    await ready(client3, "图书馆早上九点开门，晚上六点关门。", "图书馆.txt")
    await ready(client3, "食堂中午十二点供应午餐。", "食堂.txt")

    assert (await found(client3, "图书馆几点开门？"))[0]["filename"] == "图书馆.txt"
    assert (await found(client3, "午餐"))[0]["filename"] == "食堂.txt"


async def test_hits_of_the_other_language_are_kept(client3: httpx2.AsyncClient) -> None:
    """The scripted embeddings of the two Python passages are near, in either language."""
    for i in range(12):
        await ready(client3, f"Cooking recipe number {i}: stir the soup and add salt to it.", f"recipe{i}.txt")
    await ready(client3, "用 python asyncio gather 来实现并发执行的多个任务。", "zh.txt")

    hits = await found(client3, "how do I stir python asyncio gather", k=2)

    assert "zh.txt" in {hit["filename"] for hit in hits}


async def test_k_limits_the_hits_and_scores_decrease(client3: httpx2.AsyncClient) -> None:
    await ready(client3, "\n\n".join(f"# Tree {i}\n\nTree number {i} has leaves." for i in range(30)), "trees.md")

    for k in (1, 7, 30, 50):
        hits = await found(client3, "tree with leaves", k=k)
        scores = [hit["score"] for hit in hits]
        assert len(hits) == min(k, 30)
        assert len({hit["chunk_id"] for hit in hits}) == len(hits)
        assert scores == sorted(scores, reverse=True)


async def test_search_is_limited_to_selected_documents(client3: httpx2.AsyncClient) -> None:
    one = await ready(client3, "Tulips are red.", "1.txt")
    await ready(client3, "Tulips are yellow.", "2.txt")

    hits = await found(client3, "tulips", document_ids=[one["id"], str(uuid4())])

    assert [hit["filename"] for hit in hits] == ["1.txt"]
    assert await found(client3, "tulips", document_ids=[str(uuid4())]) == []


async def test_empty_index_has_no_hits(client3: httpx2.AsyncClient) -> None:
    assert await found(client3, "anything") == []


async def test_new_document_is_found_at_once(
    patient_client3: httpx2.AsyncClient, model: ScriptedModel, database_url: str
) -> None:
    """While it is being read its chunks are stored, and none is found; then all are."""
    await ready(patient_client3, "Something else about gardens.", "other.txt")
    searched = threading.Event()
    passages = in_turn(embeds(), embeds(), until_released(searched, embeds()))

    async def behaviour(connection: Connection) -> None:
        is_passage = "A rose has thorns." in connection.seen.body["input"][0]
        await (passages if is_passage else embeds())(connection)

    model.embeds(behaviour)
    text = "\n\n".join(f"# Rose {i}\n\nA rose has thorns." for i in range(100))
    document = await upload(patient_client3, text, "roses.md")
    await until(lambda: rows(database_url, "chunks") > 1)

    async def roses() -> int:
        hits = await found(patient_client3, "rose thorns", k=50)
        return sum(hit["document_id"] == document["id"] for hit in hits)

    seen = [await roses()]
    searched.set()
    while seen[-1] == 0:
        seen.append(await roses())
        await asyncio.sleep(0.05)

    assert set(seen) == {0, 50}


async def test_another_owners_documents_are_not_found(client3: httpx2.AsyncClient, database_url: str) -> None:
    document = await ready(client3, "The secret garden is behind the wall.")
    stranger = uuid4()
    with psycopg.connect(database_url) as connection:
        for table in ("documents", "chunks", "corpora"):
            connection.execute(f"UPDATE {table} SET owner_id = %s", [stranger])  # noqa: S608  three names of our own

    assert await found(client3, "secret garden") == []
    assert await found(client3, "secret garden", document_ids=[document["id"]]) == []
    for path in ("", "/chunks", "/file", "/events"):
        assert (await client3.get(f"/documents/{document['id']}{path}")).status_code == 404
    assert (await client3.delete(f"/documents/{document['id']}")).status_code == 404
    assert (await client3.get("/documents")).json()["items"] == []
    again = await upload(client3, "The secret garden is behind the wall.")
    assert again["id"] != document["id"]


@pytest.fixture
def many_chunks(database_url: str) -> list[UUID]:
    """20,000 chunks of 200 documents of the local owner's, in the form in which the service stores them."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            "INSERT INTO documents (id, owner_id, filename, media_type, size_bytes, sha256, status, chunk_count,"
            " created_at) SELECT gen_random_uuid(), %s, 'd' || i, 'text/plain', 1, i::text, 'ready', 100, now()"
            " FROM generate_series(1, 200) AS i",
            [LOCAL_OWNER_ID],
        )
        connection.execute("DROP INDEX ix_chunks_embedding_en")
        connection.execute(
            "INSERT INTO chunks (id, document_id, owner_id, index, text, language, term_count, embedding)"
            " SELECT gen_random_uuid(), documents.id, owner_id, i, 'text', 'en', 3,"
            " (SELECT array_agg(sin(number * d) + random() - 0.5)"
            " FROM generate_series(1, 384 + 0 * i) AS d)::real[]::halfvec"
            " FROM documents, generate_series(0, 99) AS i"
        )
        connection.execute(
            "CREATE INDEX ix_chunks_embedding_en ON chunks USING hnsw (embedding halfvec_cosine_ops)"
            " WHERE language = 'en'"
        )
        connection.execute("INSERT INTO document_languages SELECT id, 'en', 100, 300 FROM documents")
        connection.execute("INSERT INTO corpora VALUES (%s, 'en', 20000, 60000)", [LOCAL_OWNER_ID])
        connection.execute("INSERT INTO search_index VALUES (1, 'e', 384) ON CONFLICT DO NOTHING")
        found = connection.execute("SELECT id FROM documents ORDER BY number").fetchall()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return [row[0] for row in found]


@pytest.mark.slow
async def test_small_filter_returns_k_hits(
    client3: httpx2.AsyncClient, many_chunks: list[UUID], database_url: str
) -> None:
    """By default HNSW returns 0.4 rows of 10 where a filter keeps 1 %."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE documents SET metadata = jsonb_build_object('place', number)")
    for share, by_id in ((1, True), (2, True), (20, True), (1, False), (20, False), (190, False)):
        ids = many_chunks[:share]
        given = {"document_ids": [str(one) for one in ids]}
        condition = {"filter": {"metadata": {"place": {"lte": share}}}}
        hits = await found(client3, "anything at all", k=50, **(given if by_id else condition))
        with psycopg.connect(database_url) as connection:
            nearest = connection.execute(
                "WITH all_of_them AS MATERIALIZED (SELECT id, embedding FROM chunks WHERE document_id = ANY(%s))"
                " SELECT id FROM all_of_them ORDER BY embedding <=> %s::halfvec LIMIT 50",
                [ids, str(embedding_of("anything at all"))],
            ).fetchall()
        true = {str(row[0]) for row in nearest}
        assert len(hits) == 50
        assert len({hit["chunk_id"] for hit in hits} & true) >= 49, share


@pytest.mark.slow
async def test_filtered_search_scans_instead_of_walking_the_index(
    client3: httpx2.AsyncClient, many_chunks: list[UUID], database_url: str, statements: list[str]
) -> None:
    def scans() -> int:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(
                "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'ix_chunks_embedding_en'"
            ).fetchone()
        return int(row[0]) if row else 0

    before = scans()

    assert len(await found(client3, "anything at all", k=50)) == 50
    await until(lambda: scans() == before + 1)  # the statistics lag behind
    assert [_WALKS in statement for statement in statements if _COMPARES in statement] == [True]
    statements.clear()
    await found(client3, "anything at all", k=50, document_ids=[str(many_chunks[0])])
    assert [_WALKS in statement for statement in statements if _COMPARES in statement] == [False]


_COMPARES = "AS distance FROM chunks"
_WALKS = "ORDER BY embedding <=>"


@pytest.mark.parametrize(("behaviour", "status"), [(fails(500), 503), (hangs(), 504), (embeds(768), 503)])
async def test_unavailable_embedding_model_is_a_problem(
    client3: httpx2.AsyncClient, model: ScriptedModel, behaviour: object, status: int
) -> None:
    await ready(client3)
    model.embeds(behaviour)  # type: ignore[arg-type]  # a parameter of either kind

    response = await client3.post("/documents/search", json={"query": "x"})

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": "x" * 4001},
        {"query": "a\0b"},
        {"query": "x", "k": 0},
        {"query": "x", "k": 51},
        {"query": "x", "document_ids": []},
        {"query": "x", "document_ids": ["no-uuid"]},
        {"query": "x", "document_ids": [str(uuid4())] * 1001},
        {"query": "x", "limit": 5},
    ],
)
async def test_invalid_search_is_rejected(client3: httpx2.AsyncClient, body: dict[str, object]) -> None:
    assert (await client3.post("/documents/search", json=body)).status_code == 422


def test_scores_of_words_and_meaning_are_added() -> None:
    a, b, c = ((1, number) for number in range(3))

    assert fuse({a: 0.5, b: 0.4}, {b: 0.5, c: 0.5}, 3) == [(a, 0.5 + 0.3), (b, 0.4 + 0.3), (c, 0.3)]
    assert fuse({a: 0.5, b: 0.4}, {b: 0.5, c: 0.5}, 2) == [(a, 0.5 + 0.3), (b, 0.4 + 0.3), (c, 0.4 + 0.3)]
    assert fuse({}, {}, 2) == []


def test_foreign_cosines_are_compared_with_the_rest_of_their_ranking() -> None:
    ranking = [RankedChunk(1, 0, 0.9), *(RankedChunk(1, number, 0.7) for number in range(1, 40))]

    many = outstanding_cosines(ranking, 0.5, least=0.1)
    few = outstanding_cosines(ranking[:10], 0.5, least=0.1)

    assert many[1, 0] == pytest.approx(0.4)
    assert many[1, 39] == pytest.approx(0)
    assert few[1, 0] == pytest.approx(1.6)
    assert outstanding_cosines([], 0.5, least=0.1) == {}


def test_rankings_of_two_languages_alternate() -> None:
    own = [((1, number), odds) for number, odds in enumerate([2.0, 1.9, 1.8, -9.0])]
    foreign = [((2, number), odds) for number, odds in enumerate([1.0, -1.05, -2.0])]

    assert [key for key, _ in alternate(own, foreign)] == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2), (1, 3)]
    assert [key for key, _ in alternate(foreign, own)][:3] == [(1, 0), (2, 0), (1, 1)]
    assert alternate([], foreign) == foreign
    assert alternate(own, []) == own
    assert [key for key, _ in alternate(own[:2], [((2, 0), -5.0)])] == [(1, 0), (1, 1), (2, 0)]


async def test_scores_tell_relevant_from_unrelated(client3: httpx2.AsyncClient) -> None:
    for number in range(30):
        await ready(client3, f"Recipe {number}: stir the soup and add salt to it.", f"recipe{number}.txt")
    await ready(client3, "The heron nests by the river in spring.", "heron.txt")

    asked = await found(client3, "Where does the heron nest in spring?")
    unrelated = await found(client3, "Who was the emperor of Ethiopia?")

    assert asked[0]["filename"] == "heron.txt"
    assert asked[0]["score"] > 0.5 > asked[1]["score"] > 0
    assert unrelated[0]["score"] < 0.5
