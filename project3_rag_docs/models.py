"""What is stored in stage 3: documents with their files, the chunks that are searched, and the lexical index.

    documents ─┬─ document_parts       the file as it was uploaded, in pieces
               ├─ chunks               what is found: text, and its embedding for the search by meaning
               ├─ postings             which terms stand in which chunk, for the search by words
               └─ document_languages   how many chunks and terms it has in each language, once it is published
    corpora                            the same per owner, over all documents that are ready (BM25 needs it)
    terms                              in how many chunks each term stands (likewise)
    search_index                       one row: the model whose embeddings these are

A document is searched when its status is `ready`, so its chunks can be stored bit by bit and appear at once.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from project3_rag_docs.search.lexical import Language

# The migration makes the column for this many; `project3_rag_docs.search.index` changes it to what EMBEDDING_DIMENSIONS says.
DEFAULT_DIMENSIONS = 384


class Status(StrEnum):
    """How far a document is. `deleted` is shown to nobody: its rows go when a worker has the time."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


def _now() -> datetime:
    return datetime.now(UTC)


def _document(column: str = "id") -> list[Any]:
    return [ForeignKey(f"documents.{column}", ondelete="CASCADE")]


class Document(SQLModel, table=True):
    """A file that somebody uploaded."""

    __tablename__: ClassVar[str] = "documents"
    __table_args__: ClassVar = (
        CheckConstraint("status IN ('processing', 'ready', 'failed', 'deleted')", name="status"),
        # The same content is one document, also when two uploads of it race.
        Index(
            "uq_documents_owner_id_sha256",
            "owner_id",
            "sha256",
            unique=True,
            postgresql_where=text("status <> 'deleted'"),
        ),
        Index("ix_documents_owner_id_id", "owner_id", "id"),
        # What the search leaves out: the few that are not ready.
        Index("ix_documents_hidden", "owner_id", postgresql_where=text("status <> 'ready'")),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    # What the postings refer to: four bytes there instead of sixteen, millions of times.
    number: int | None = Field(default=None, sa_column_args=[Identity(always=True)], unique=True)
    owner_id: UUID
    filename: str = Field(sa_type=String(255))
    media_type: str = Field(sa_type=String(100))
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(sa_type=String(64))
    status: Status = Field(default=Status.PROCESSING, sa_type=String(20))
    chunk_count: int = 0  # those that are stored
    chunk_total: int | None = None  # known when the file was read
    error: str | None = Field(default=None, sa_type=Text)
    claim: UUID | None = None  # of the worker that is at it; another one that wakes up late writes nothing any more
    created_at: datetime = Field(default_factory=_now, sa_type=DateTime(timezone=True))

    @property
    def progress(self) -> float:
        """How much is done, from 0 to 1."""
        if self.status == Status.READY:
            return 1.0
        return self.chunk_count / self.chunk_total if self.chunk_total else 0.0


class DocumentPart(SQLModel, table=True):
    """A piece of an uploaded file, as it came: every process that shares the database can read it."""

    __tablename__: ClassVar[str] = "document_parts"

    document_id: UUID = Field(sa_column_args=_document(), primary_key=True)
    index: int = Field(primary_key=True)
    data: bytes = Field(sa_type=LargeBinary, repr=False)


# A graph for each language: a search for what is nearest in one of them would have to walk through all that is near in
# the other. Measured on 100,000 chunks, a tenth of them Chinese, with English questions: recall .85 to .92 of the
# Chinese ones in one graph, .98 in their own, which is walked 30 times as fast.
EMBEDDING_INDEXES = tuple(
    Index(
        f"ix_chunks_embedding_{language}",
        "embedding",
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
        postgresql_where=text(f"language = '{language}'"),
    )
    for language in Language
)


class Chunk(SQLModel, table=True):
    """A piece of a document's text, with its embedding."""

    __tablename__: ClassVar[str] = "chunks"
    __table_args__: ClassVar = (
        Index("uq_chunks_document_id_index", "document_id", "index", unique=True),
        Index("ix_chunks_owner_id_language", "owner_id", "language"),
        *EMBEDDING_INDEXES,
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    document_id: UUID = Field(sa_column_args=_document())
    owner_id: UUID
    index: int
    page: int | None = None
    heading: str | None = Field(default=None, sa_type=Text)
    text: str = Field(sa_type=Text)
    language: str = Field(sa_type=String(2))
    term_count: int
    embedding: Any = Field(sa_type=HALFVEC(DEFAULT_DIMENSIONS), nullable=False, repr=False)


class Posting(SQLModel, table=True):
    """A term in a chunk, how often it stands there, and how many terms the chunk has.

    The term is a hash in which the owner and the language are too (`project3_rag_docs.search.index.term_key`): so one short
    index serves all, and nobody's search touches a row of somebody else's.
    """

    __tablename__: ClassVar[str] = "postings"
    __table_args__: ClassVar = (Index("ix_postings_document", "document"),)

    term: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    document: int = Field(sa_type=Integer, sa_column_args=_document("number"), primary_key=True)
    chunk: int = Field(primary_key=True, description="Its index in the document.")
    frequency: int = Field(sa_type=SmallInteger)
    length: int


class DocumentLanguage(SQLModel, table=True):
    """What a document has in a language. The row is there from publishing on, until the document's rows are removed."""

    __tablename__: ClassVar[str] = "document_languages"

    document_id: UUID = Field(sa_column_args=_document(), primary_key=True)
    language: str = Field(sa_type=String(2), primary_key=True)
    chunk_count: int
    term_count: int = Field(sa_type=BigInteger)


class Term(SQLModel, table=True):
    """In how many chunks a term stands, of documents that were published and whose rows are not removed yet.

    So a search knows how long a list of postings is before it reads it.
    """

    __tablename__: ClassVar[str] = "terms"

    term: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    chunk_count: int


class Corpus(SQLModel, table=True):
    """What an owner has in a language, over all documents that are ready."""

    __tablename__: ClassVar[str] = "corpora"

    owner_id: UUID = Field(primary_key=True)
    language: str = Field(sa_type=String(2), primary_key=True)
    chunk_count: int = Field(sa_type=BigInteger)
    term_count: int = Field(sa_type=BigInteger)


class SearchIndex(SQLModel, table=True):
    """The model whose embeddings are stored: those of two models cannot be compared."""

    __tablename__: ClassVar[str] = "search_index"
    __table_args__: ClassVar = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, sa_type=SmallInteger, primary_key=True)
    model: str = Field(sa_type=Text)
    dimensions: int
