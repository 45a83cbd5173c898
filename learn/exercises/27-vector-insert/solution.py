"""Store embeddings with pgvector. Only the SQL is judged, so no PostgreSQL is needed."""

from collections.abc import Sequence
from typing import Any

from pgvector.sqlalchemy import Vector
from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class Chunk(Base):
    """A passage of a document with its embedding."""

    __tablename__ = "chunks"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    embedding: Mapped[list[float]] = mapped_column(Vector(384))

    __table_args__ = (
        Index(
            "chunks_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_cosine_ops"},
        ),
    )


def upsert(rows: Sequence[dict[str, Any]]) -> Insert:
    """Return the statement that inserts rows, and replaces text and embedding of an id that exists."""
    statement = insert(Chunk).values(list(rows))
    return statement.on_conflict_do_update(
        index_elements=[Chunk.id],
        set_={"text": statement.excluded.text, "embedding": statement.excluded.embedding},
    )
