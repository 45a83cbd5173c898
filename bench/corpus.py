"""A synthetic, reproducible collection of any size: texts with a realistic distribution of words, and vectors.

Words are drawn by Zipf's law (Mandelbrot's form) from synthetic English and Chinese vocabularies, so that the index has
few long and many short lists of postings, like a real one. Vectors are clustered by topic and document and vary mainly
in few dimensions, like those of embedding models: in data without structure, all neighbours are about equally distant,
and no index is effective. Texts and vectors are independent of each other.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql
from uuid_utils.compat import uuid7

from project3_rag_docs.ingestion.chunking import split_sentences
from project3_rag_docs.models import EMBEDDING_INDEXES
from project3_rag_docs.search.index import term_key
from project3_rag_docs.search.lexical import Language, analyse
from shared.owner import LOCAL_OWNER_ID

DIMENSIONS = 384
CHUNK_WORDS = 160  # about 1,000 characters
CHUNK_WORDS_ZH = 110  # about 220 characters

_ROOT = Path(__file__).parent.parent
_CHINESE_EVERY = 10  # documents
_LATENT = 64  # directions in which vectors differ
_CLOSED = "the of and to in a is that for it as was with be by on not he i this are or his from at which but an they"
_CLOSED_ZH = "的 是 在 了 和 有 不 与 为 这"
CLOSED, CLOSED_ZH = len(_CLOSED.split()), len(_CLOSED_ZH.split())
_CONSONANTS, _VOWELS, _ENDINGS = "bcdfghjklmnprstvwz", "aeiou", ("n", "r", "st", "l", "m", "ck")
_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_POSTING_COLUMNS = {"term": ">i8", "document": ">i4", "chunk": ">i4", "frequency": ">i2", "length": ">i4"}
# A row of them in COPY's binary form: how many columns, then the size and the value of each.
_POSTING = np.dtype(
    [
        ("columns", ">i2"),
        *(field for name, kind in _POSTING_COLUMNS.items() for field in ((f"{name}_size", ">i4"), (name, kind))),
    ]
)

Vectors = NDArray[np.float16]


@dataclass(frozen=True)
class Query:
    """A question and its vector."""

    text: str
    language: Language
    vector: NDArray[np.float32]

    def base64(self) -> str:
        """Return the vector in the encoding of OpenAI's endpoint."""
        return base64.b64encode(self.vector.astype("<f4").tobytes()).decode()


@dataclass(frozen=True)
class Corpus:
    """A collection, determined by its size. Every tenth document is Chinese."""

    documents: int
    chunks_per_document: int

    @property
    def size(self) -> int:
        """The number of chunks."""
        return self.documents * self.chunks_per_document

    @cached_property
    def vectors(self) -> Vectors:
        """A unit vector per chunk, in document order, with the stored precision."""
        return _vectors(self._places).astype(np.float16)

    def languages(self) -> NDArray[np.bool_]:
        """Return for each chunk whether it is Chinese."""
        return np.repeat([is_chinese(number) for number in range(self.documents)], self.chunks_per_document)

    def ranks(self, document: int) -> NDArray[np.int64]:
        """Return the words of a document, one row per chunk, as indices of `words` or `words_zh`."""
        rng = np.random.default_rng([1, document])
        if is_chinese(document):
            return _draw(rng, words_zh(), (self.chunks_per_document, CHUNK_WORDS_ZH))
        return _draw(rng, words(), (self.chunks_per_document, CHUNK_WORDS))

    def queries(self, count: int, *, of_rare_words: bool = False) -> list[Query]:
        """Return questions of three to five words, with vectors near those of chunks; every tenth is Chinese.

        Args:
            of_rare_words: Whether to draw words only from the rarer half of the vocabulary.
        """
        rng = np.random.default_rng([2, of_rare_words])
        places = self._places
        near = rng.integers(self.size, size=count)
        latent = Places(
            places.latent[near] + 0.4 * _spread(rng, count),
            np.array([number % _CHINESE_EVERY == 0 for number in range(count)]),
        )
        found: list[Query] = []
        for number, vector in enumerate(_vectors(latent, seed=3)):
            if latent.chinese[number]:
                drawn = _content(rng, words_zh(), len(words_zh()) // 2 if of_rare_words else CLOSED_ZH, 3)
                found.append(Query(f"{'和'.join(drawn)}是什么？", Language.ZH, vector))
            else:
                drawn = _content(rng, words(), len(words()) // 2 if of_rare_words else CLOSED, int(rng.integers(3, 6)))
                found.append(Query(f"What is the {' '.join(drawn)}?", Language.EN, vector))
        return found

    @cached_property
    def _places(self) -> "Places":
        rng = np.random.default_rng(4)
        topics = _spread(rng, max(10, self.documents // 5))
        documents = topics[rng.integers(len(topics), size=self.documents)] + 0.7 * _spread(rng, self.documents)
        chunks = np.repeat(documents, self.chunks_per_document, axis=0) + 0.6 * _spread(rng, self.size)
        return Places(chunks, self.languages())


@dataclass(frozen=True)
class Places:
    """The positions of texts in the latent space, and whether they are Chinese."""

    latent: NDArray[np.float64]
    chinese: NDArray[np.bool_]


def is_chinese(document: int) -> bool:
    """Return whether a document is Chinese."""
    return document % _CHINESE_EVERY == _CHINESE_EVERY - 1


def _spread(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw points whose spread decreases from dimension to dimension."""
    return rng.standard_normal((count, _LATENT)) / np.sqrt(np.arange(1, _LATENT + 1))


def _vectors(places: Places, seed: int = 5) -> NDArray[np.float32]:
    # All vectors of a model have similar directions, those of one language even more so.
    turn = np.linalg.qr(np.random.default_rng(6).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    made = np.zeros((len(places.latent), DIMENSIONS), dtype=np.float32)
    made[:, :_LATENT] = places.latent
    made[:, _LATENT] = 5.0
    made[:, _LATENT + 1] = np.where(places.chinese, 0.7, -0.7)
    made += np.random.default_rng(seed).standard_normal(made.shape, dtype=np.float32) * 0.03
    made = made @ turn.astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


@lru_cache
def words() -> Sequence[str]:
    """Return the English vocabulary by frequency: function words, then synthetic words of two or three syllables."""
    syllables = ["".join(parts) for parts in product(_CONSONANTS, _VOWELS)]
    rng = np.random.default_rng(7)
    made = dict.fromkeys(
        "".join(syllables[i] for i in drawn[: 2 + int(drawn[0]) % 2]) + _ENDINGS[int(drawn[0]) % len(_ENDINGS)]
        for drawn in rng.integers(len(syllables), size=(20_000, 3))
    )
    return [*_CLOSED.split(), *made]


@lru_cache
def words_zh() -> Sequence[str]:
    """Return the Chinese vocabulary by frequency: ten particles, then synthetic words of two characters."""
    rng = np.random.default_rng(8)
    characters = rng.permutation(np.arange(0x4E00, 0x4E00 + 3000))
    pairs = (rng.random((15_000, 2)) ** 2 * len(characters)).astype(int)
    return [*_CLOSED_ZH.split(), *dict.fromkeys(chr(characters[a]) + chr(characters[b]) for a, b in pairs)]


@lru_cache
def _cumulated(size: int) -> NDArray[np.float64]:
    weights = 1 / (np.arange(1, size + 1) + 2.7)
    return np.asarray(np.cumsum(weights / weights.sum()))


def _draw(rng: np.random.Generator, vocabulary: Sequence[str], shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.searchsorted(_cumulated(len(vocabulary))[:-1], rng.random(shape))


def _content(rng: np.random.Generator, vocabulary: Sequence[str], first: int, count: int) -> list[str]:
    """Draw words from a rank on, with the frequencies of the texts."""
    found: list[str] = []
    while len(found) < count:
        rank = int(_draw(rng, vocabulary, (1,))[0])
        if rank >= first:
            found.append(vocabulary[rank])
    return found


def _english(ranks: NDArray[np.int64]) -> str:
    drawn = [words()[rank] for rank in ranks.tolist()]
    return " ".join(" ".join(drawn[at : at + 16]).capitalize() + "." for at in range(0, len(drawn), 16))


def _chinese(ranks: NDArray[np.int64]) -> str:
    drawn = [words_zh()[rank] for rank in ranks.tolist()]
    return "。".join("".join(drawn[at : at + 12]) for at in range(0, len(drawn), 12)) + "。"


def prose(seed: int, characters: int) -> str:
    """Return natural English of about `characters`: the sentences of this project's decision records, shuffled."""
    known = [
        " ".join(sentence.split())
        for path in sorted((_ROOT / "docs" / "decisions").glob("*.md"))
        for sentence in split_sentences(path.read_text(encoding="utf-8"))
        if len(sentence) > 40
    ]
    rng = np.random.default_rng([9, seed])
    found: list[str] = []
    while sum(map(len, found)) < characters:
        found += [known[i] for i in rng.permutation(len(known))]
    text = " ".join(found)
    return text[: text.rindex(". ", 0, characters) + 1]


def fill(address: str, corpus: Corpus) -> list[UUID]:
    """Write a collection into an empty database, with the same rows as the service but many times as fast.

    The slow indexes are dropped and rebuilt at the end, followed by VACUUM, which would run later otherwise. Searches
    find nothing before `publish_all`.

    Returns:
        The documents' ids, in order.
    """
    with psycopg.connect(address, autocommit=True) as connection:
        register_vector(connection)
        ids = _add_documents(connection, corpus)
        numbers: dict[UUID, int] = dict(connection.execute("SELECT id, number FROM documents").fetchall())
        remade = _drop_indexes(connection)
        _copy_chunks(connection, corpus, ids, [numbers[one] for one in ids])
        connection.execute("SET maintenance_work_mem = '1GB'")
        for statement in remade:
            connection.execute(statement.encode())
        connection.execute("VACUUM (ANALYZE) chunks, postings, documents")
    return ids


def publish_all(address: str) -> None:
    """Publish all documents at once; the service publishes them one by one."""
    with psycopg.connect(address) as connection:
        for statement in (
            "UPDATE documents SET status = 'ready'",
            (
                "INSERT INTO document_languages SELECT document_id, language, count(*), sum(term_count) FROM chunks"
                " GROUP BY document_id, language"
            ),
            (
                "INSERT INTO corpora SELECT owner_id, language, sum(there.chunk_count), sum(term_count)"
                " FROM document_languages AS there JOIN documents ON id = document_id GROUP BY owner_id, language"
            ),
            "INSERT INTO terms SELECT term, count(*) FROM postings GROUP BY term",
        ):
            connection.execute(statement)


def _add_documents(connection: psycopg.Connection[Any], corpus: Corpus) -> list[UUID]:
    ids = [uuid7() for _ in range(corpus.documents)]
    rows = [
        (one, LOCAL_OWNER_ID, f"{number}.txt", f"{number:064x}", corpus.chunks_per_document, corpus.chunks_per_document)
        for number, one in enumerate(ids)
    ]
    connection.cursor().executemany(
        "INSERT INTO documents (id, owner_id, filename, media_type, size_bytes, sha256, status, chunk_count,"
        " chunk_total, created_at) VALUES (%s, %s, %s, 'text/plain', 0, %s, 'processing', %s, %s, now())",
        rows,
    )
    return ids


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Drop the slow indexes and constraints, and return the statements that create them again."""
    indexes = connection.execute(
        "SELECT relname, pg_get_indexdef(oid) FROM pg_class WHERE relname = ANY(%s)",
        [[*(index.name for index in EMBEDDING_INDEXES), "ix_postings_document"]],
    ).fetchall()
    # Checking the foreign key row by row would take minutes.
    constraints = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'postings'::regclass AND contype IN ('p', 'f') ORDER BY contype DESC"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    for name, _ in constraints:
        connection.execute(sql.SQL("ALTER TABLE postings DROP CONSTRAINT {}").format(sql.Identifier(name)))
    added = [f"ALTER TABLE postings ADD CONSTRAINT {name} {definition}" for name, definition in constraints]
    return [*added, *(definition for _, definition in indexes)]


@dataclass(frozen=True)
class _Indexed:
    """An indexed chunk: the keys and the frequencies of its terms."""

    text: str
    language: Language
    keys: NDArray[np.int64]
    frequencies: NDArray[np.int64]

    @property
    def length(self) -> int:
        return int(self.frequencies.sum())


def _copy_chunks(
    connection: psycopg.Connection[Any], corpus: Corpus, ids: Sequence[UUID], numbers: Sequence[int]
) -> None:
    _check_shortcut(corpus)
    postings: list[bytes] = [_COPY_HEAD]
    statement = (
        "COPY chunks (id, document_id, owner_id, index, text, language, term_count, embedding)"
        " FROM STDIN WITH (FORMAT BINARY)"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["uuid", "uuid", "uuid", "int4", "text", "varchar", "int4", "halfvec"])
        for place, (one, number) in enumerate(zip(ids, numbers, strict=True)):
            chunks = _indexed(corpus, place)
            for index, chunk in enumerate(chunks):
                vector = HalfVector(corpus.vectors[place * corpus.chunks_per_document + index])
                language = str(chunk.language)
                copy.write_row((uuid7(), one, LOCAL_OWNER_ID, index, chunk.text, language, chunk.length, vector))
            postings.append(_posting_rows(number, chunks))
    postings.append(_COPY_END)
    statement = "COPY postings (term, document, chunk, frequency, length) FROM STDIN WITH (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for part in postings:
            copy.write(part)


def _indexed(corpus: Corpus, document: int) -> list[_Indexed]:
    if is_chinese(document):
        return [_analysed(_chinese(ranks)) for ranks in corpus.ranks(document)]
    found = []
    for ranks in corpus.ranks(document):
        keys, frequencies = np.unique(_word_keys()[ranks[ranks >= CLOSED]], return_counts=True)
        found.append(_Indexed(_english(ranks), Language.EN, keys, frequencies))
    return found


def _analysed(text: str) -> _Indexed:
    """Index a chunk with the service's own analysis."""
    analysis = analyse(text)
    keys = [_key(analysis.language, term) for term in analysis.terms]
    return _Indexed(text, analysis.language, np.array(keys), np.array(list(analysis.terms.values())))


@cache
def _key(language: Language, term: str) -> int:
    return term_key(LOCAL_OWNER_ID, language, term)


@lru_cache
def _word_keys() -> NDArray[np.int64]:
    """Return the term key of each English word. Analysing each word only once is ten times as fast."""
    return np.array([_key(Language.EN, term) for word in words() for term in analyse(word).terms])


def _check_shortcut(corpus: Corpus) -> None:
    for shortcut in _indexed(corpus, 0):
        service = _analysed(shortcut.text)
        order = np.argsort(service.keys)
        same = np.array_equal(service.keys[order], shortcut.keys)
        if not same or not np.array_equal(service.frequencies[order], shortcut.frequencies):
            raise RuntimeError("the service extracts other terms from a text than this shortcut")


def _posting_rows(document: int, chunks: Sequence[_Indexed]) -> bytes:
    sizes = [len(chunk.keys) for chunk in chunks]
    rows = np.zeros(sum(sizes), dtype=_POSTING)
    rows["columns"] = len(_POSTING_COLUMNS)
    values = {
        "term": np.concatenate([chunk.keys for chunk in chunks]),
        "document": document,
        "chunk": np.repeat(np.arange(len(chunks)), sizes),
        "frequency": np.concatenate([chunk.frequencies for chunk in chunks]),
        "length": np.repeat([chunk.length for chunk in chunks], sizes),
    }
    for name, value in values.items():
        rows[name] = value
        rows[f"{name}_size"] = _POSTING[name].itemsize
    return rows.tobytes()
