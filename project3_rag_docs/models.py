"""The tables of stage 3: documents with their files, chunks with their embeddings, and the inverted index.

    documents ─┬─ document_parts       the uploaded file, in parts
               ├─ chunks               text and embedding, for the vector search
               ├─ postings             which chunk contains which term, for BM25
               ├─ document_languages   number of chunks and terms by language, once the document is published
               └─ summaries            by model, once one was asked for
    collections                        named sets of documents
    past_versions                      what documents were before they were replaced
    corpora                            the same per owner, over all ready documents, for BM25
    terms                              number of chunks that contain each term, for BM25
    search_index                       one row: the embedding model

A document is searchable once its status is `ready`: its chunks are stored one batch at a time, and all appear at once.
A row of `documents` is a version of a document. Besides the current one, a document may have one that replaces it once
it is ready; in that transaction the old row is deleted.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from project3_rag_docs.search.lexical import Language

# The migration creates the column with these dimensions; `search.index.claim_index` changes it to EMBEDDING_DIMENSIONS.
DEFAULT_DIMENSIONS = 384


class Status(StrEnum):
    """The status of a document. A `deleted` one is hidden until a worker deletes its rows."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


def _now() -> datetime:
    return datetime.now(UTC)


def _document_key(column: str = "id") -> list[Any]:
    return [ForeignKey(f"documents.{column}", ondelete="CASCADE")]


class Collection(SQLModel, table=True):
    """A named set of an owner's documents."""

    __tablename__: ClassVar[str] = "collections"
    __table_args__: ClassVar = (Index("uq_collections_owner_id_name", "owner_id", "name", unique=True),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    owner_id: UUID
    name: str = Field(sa_type=String(100))
    created_at: datetime = Field(default_factory=_now, sa_type=DateTime(timezone=True))


class Document(SQLModel, table=True):
    """An uploaded file, and the state of its ingestion: a version of a document."""

    __tablename__: ClassVar[str] = "documents"
    __mapper_args__: ClassVar = {"eager_defaults": True}  # an update reads the computed column again
    __table_args__: ClassVar = (
        CheckConstraint("status IN ('processing', 'ready', 'failed', 'deleted')", name="status"),
        # A process of the version before, which does not know of replacements, cannot publish one beside the old one.
        CheckConstraint("NOT (replaces AND status = 'ready')", name="replaces"),
        # A document has one current version, and one that will replace it.
        Index(
            "uq_documents_public_id_replaces",
            "public_id",
            "replaces",
            unique=True,
            postgresql_where=text("status <> 'deleted'"),
        ),
        # The same content is stored once, even if two uploads race.
        Index(
            "uq_documents_owner_id_sha256",
            "owner_id",
            "sha256",
            unique=True,
            postgresql_where=text("status <> 'deleted'"),
        ),
        Index("ix_documents_owner_id_id", "owner_id", "id"),
        Index("ix_documents_collection_id", "collection_id", postgresql_where=text("collection_id IS NOT NULL")),
        # The few documents that a search has to exclude.
        Index("ix_documents_hidden", "owner_id", postgresql_where=text("status <> 'ready'")),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    first_id: UUID | None = None  # the id of the first version, in the rows of later ones
    # The id of the document in the API, the same for all its versions.
    public_id: UUID = Field(
        default=None, sa_column=Column(Uuid, Computed("coalesce(first_id, id)", persisted=True), nullable=False)
    )
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    # Whether it will replace the current version, once it is ready.
    replaces: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    # The key in the postings: four bytes instead of sixteen, millions of times.
    number: int | None = Field(default=None, sa_column_args=[Identity(always=True)], unique=True)
    owner_id: UUID
    filename: str = Field(sa_type=String(255))
    media_type: str = Field(sa_type=String(100))
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(sa_type=String(64))
    status: Status = Field(default=Status.PROCESSING, sa_type=String(20))
    chunk_count: int = 0  # stored so far
    chunk_total: int | None = None  # known once the file was parsed
    error: str | None = Field(default=None, sa_type=Text)
    notice: str | None = Field(default=None, sa_type=Text)  # what of a ready document could not be read
    # The attribute `metadata` is SQLAlchemy's.
    custom: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'"))
    )
    tags: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    collection_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("collections.id", ondelete="SET NULL")])
    claim: UUID | None = None  # of the current attempt; one that lost its claim can no longer write
    created_at: datetime = Field(default_factory=_now, sa_type=DateTime(timezone=True))

    @property
    def progress(self) -> float:
        """The share of chunks that are stored, from 0 to 1."""
        if self.status == Status.READY:
            return 1.0
        return self.chunk_count / self.chunk_total if self.chunk_total else 0.0


class PastVersion(SQLModel, table=True):
    """A version of a document that was replaced. Its file and its chunks are gone."""

    __tablename__: ClassVar[str] = "past_versions"

    public_id: UUID = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    owner_id: UUID
    filename: str = Field(sa_type=String(255))
    media_type: str = Field(sa_type=String(100))
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(sa_type=String(64))
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    replaced_at: datetime = Field(default_factory=_now, sa_type=DateTime(timezone=True))


class DocumentPart(SQLModel, table=True):
    """A part of an uploaded file. In the database, every process can read it without a shared disk."""

    __tablename__: ClassVar[str] = "document_parts"

    document_id: UUID = Field(sa_column_args=_document_key(), primary_key=True)
    index: int = Field(primary_key=True)
    data: bytes = Field(sa_type=LargeBinary, repr=False)


# One HNSW graph per language: in a common graph, a search in one language would visit all near neighbours in the other.
# Measured on 100,000 chunks, a tenth of them Chinese, with English questions: the recall of Chinese chunks is .85 to
# .92 in a common graph, and .98 in their own, which is searched 30 times as fast.
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
    """A passage of a document, with its embedding."""

    __tablename__: ClassVar[str] = "chunks"
    __table_args__: ClassVar = (
        Index("uq_chunks_document_id_index", "document_id", "index", unique=True),
        Index("ix_chunks_owner_id_language", "owner_id", "language"),
        *EMBEDDING_INDEXES,
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    document_id: UUID = Field(sa_column_args=_document_key())
    owner_id: UUID
    index: int
    page: int | None = None
    heading: str | None = Field(default=None, sa_type=Text)
    text: str = Field(sa_type=Text)
    recognised: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # by OCR
    language: str = Field(sa_type=String(2))
    term_count: int
    embedding: Any = Field(sa_type=HALFVEC(DEFAULT_DIMENSIONS), nullable=False, repr=False)


class Summary(SQLModel, table=True):
    """The summary of a version of a document by a model."""

    __tablename__: ClassVar[str] = "summaries"

    version_id: UUID = Field(sa_column_args=_document_key(), primary_key=True)
    model: str = Field(sa_type=Text, primary_key=True)
    owner_id: UUID
    text: str = Field(sa_type=Text)
    created_at: datetime = Field(
        sa_type=DateTime(timezone=True), default=None, sa_column_kwargs={"server_default": func.now()}
    )


class Posting(SQLModel, table=True):
    """A term's frequency in a chunk, and the length of the chunk in terms.

    The term is a hash of owner, language and word (`search.index.term_key`), so one short index serves all owners, and
    a search reads only the rows of its owner.
    """

    __tablename__: ClassVar[str] = "postings"
    __table_args__: ClassVar = (Index("ix_postings_document", "document"),)

    term: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    document: int = Field(sa_type=Integer, sa_column_args=_document_key("number"), primary_key=True)
    chunk: int = Field(primary_key=True, description="The index of the chunk in the document.")
    frequency: int = Field(sa_type=SmallInteger)
    length: int


class DocumentLanguage(SQLModel, table=True):
    """The size of a document in one language. The row exists from publication until the document's rows are deleted."""

    __tablename__: ClassVar[str] = "document_languages"

    document_id: UUID = Field(sa_column_args=_document_key(), primary_key=True)
    language: str = Field(sa_type=String(2), primary_key=True)
    chunk_count: int
    term_count: int = Field(sa_type=BigInteger)


class Term(SQLModel, table=True):
    """The number of chunks that contain a term, in all documents that were published and whose rows still exist.

    It tells a search the length of a list of postings in advance.
    """

    __tablename__: ClassVar[str] = "terms"

    term: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    chunk_count: int


class Corpus(SQLModel, table=True):
    """The size of an owner's ready documents in one language."""

    __tablename__: ClassVar[str] = "corpora"

    owner_id: UUID = Field(primary_key=True)
    language: str = Field(sa_type=String(2), primary_key=True)
    chunk_count: int = Field(sa_type=BigInteger)
    term_count: int = Field(sa_type=BigInteger)


class SearchIndex(SQLModel, table=True):
    """The model of the stored embeddings. Embeddings of different models cannot be compared."""

    __tablename__: ClassVar[str] = "search_index"
    __table_args__: ClassVar = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, sa_type=SmallInteger, primary_key=True)
    model: str = Field(sa_type=Text)
    dimensions: int
