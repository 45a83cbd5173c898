"""The statements of a search, with facts and postings made for the purpose."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import httpx2
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from project3_rag_docs.search.bm25 import BM25Query
from project3_rag_docs.search.lexical import Language
from project3_rag_docs.search.rankings import run_queries
from project3_rag_docs.search.statistics import Corpus, Scope, load_statistics
from project3_rag_docs.search.vectors import VectorQuery
from project3_rag_docs.settings import Settings
from shared.database.engine import create_engine, read_session
from shared.owner import LOCAL_OWNER_ID
from tests.support.documents import ready

SCOPE = Scope(LOCAL_OWNER_ID)


@pytest.fixture
async def session(make_settings3: Callable[..., Settings]) -> AsyncIterator[AsyncSession]:
    engine = create_engine(make_settings3())
    async with read_session(async_sessionmaker(engine)) as opened:
        yield opened
    await engine.dispose()


def corpus_of(chunks: int) -> Corpus:
    return Corpus(Language.EN, chunk_count=chunks, average_length=1.0, in_scope_count=chunks, indexed_count=chunks)


def test_rare_words_select_the_candidates() -> None:
    few = BM25Query.for_terms(corpus_of(100_000), {1: 9_000, 2: 300, 3: 10_000}, 50)
    many = BM25Query.for_terms(corpus_of(100_000), {1: 40_000, 2: 300, 3: 10_000}, 50)
    one = BM25Query.for_terms(corpus_of(100_000), {1: 40_000}, 50)
    two = BM25Query.for_terms(corpus_of(100_000), {1: 40_000, 2: 60, 3: 50_000}, 50)

    assert (list(few.rare), list(few.common)) == ([2, 1, 3], [])  # these are not too many, all together
    assert (list(many.rare), list(many.common)) == ([2, 3], [1])
    assert (list(one.rare), list(one.common)) == ([1], [])
    assert (list(two.rare), list(two.common)) == ([2, 1], [3])  # sixty chunks leave too little to choose from
    assert few.rare[2] > few.rare[1] > few.rare[3] > many.common[1] > 0
    assert many.exhaustive().rare == {**many.rare, **many.common}


async def test_common_words_count_beside_a_rare_word(session: AsyncSession, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "INSERT INTO documents (id, owner_id, filename, media_type, size_bytes, sha256, status, chunk_count,"
            " created_at) VALUES (gen_random_uuid(), %s, 'd', 'text/plain', 1, 's', 'ready', 3, now())"
            " RETURNING number",
            [LOCAL_OWNER_ID],
        ).fetchone()
        assert row is not None
        number = row[0]
        for term, chunk, frequency in ((1, 0, 1), (1, 1, 1), (2, 1, 1), (2, 2, 3)):
            connection.execute("INSERT INTO postings VALUES (%s, %s, %s, %s, 1)", [term, number, chunk, frequency])
    by_words = BM25Query(corpus_of(3), rare={1: 2.0}, common={2: 1.0})

    [first] = await run_queries(session, SCOPE, [by_words], 2)
    [every] = await run_queries(session, SCOPE, [by_words], 3)

    # BM25 by hand: a chunk as long as the average has weight * frequency / (frequency + 1.2).
    assert [(found.key, round(found.score, 6)) for found in first] == [
        ((number, 1), round(3 / 2.2, 6)),
        ((number, 0), round(2 / 2.2, 6)),
    ]
    # Where the rare words bring too little, the common ones bring the rest.
    assert [found.key for found in every] == [(number, 1), (number, 0), (number, 2)]
    assert round(every[2].score, 6) == round(3 / 4.2, 6)


async def test_statistics_are_counted_by_language(client3: httpx2.AsyncClient, session: AsyncSession) -> None:
    english = await ready(client3, "# A\n\nThe heron nests.\n\n# B\n\nBy the river.", "en.md")
    await ready(client3, "图书馆早上九点开门。", "zh.txt")

    everything = await load_statistics(session, SCOPE, [], 50)
    some = await load_statistics(session, Scope(LOCAL_OWNER_ID, [UUID(english["id"])]), [], 50)
    strangers = await load_statistics(session, Scope(UUID(int=1), [UUID(english["id"])]), [], 50)

    assert everything.index_model == ("e", 384)
    assert {one.language: one.in_scope_count for one in everything.corpora.values()} == {Language.EN: 2, Language.ZH: 1}
    assert {one.language: (one.chunk_count, one.in_scope_count) for one in some.corpora.values()} == {
        Language.EN: (2, 2)
    }
    assert strangers.corpora == {}


def test_small_scopes_are_scanned_exactly() -> None:
    def exactly(wanted: int, indexed: int) -> bool:
        return Corpus(Language.EN, indexed, 1.0, wanted, indexed).prefers_exact_scan(50)

    assert exactly(300, 300)
    assert exactly(1_000, 100_000)
    assert exactly(20_000, 100_000)
    assert not exactly(30_000, 100_000)
    assert not exactly(100_000, 100_000)
    assert VectorQuery(corpus_of(1), exact=False, vector="").exhaustive() == VectorQuery(corpus_of(1), True, "")
