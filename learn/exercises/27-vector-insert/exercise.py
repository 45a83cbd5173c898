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
    # TODO: `embedding: Mapped[list[float]]`, a vector of 384 numbers
    #       `embedding: Mapped[list[float]]`：384 维向量

    # TODO: an HNSW index for cosine distance on the embedding, in `__table_args__`
    #       在 `__table_args__` 里给 embedding 建余弦距离的 HNSW 索引


def upsert(rows: Sequence[dict[str, Any]]) -> Insert:
    """Return the statement that inserts rows, and replaces text and embedding of an id that exists."""
    # TODO: on a conflict of the id, update both columns with the values of `statement.excluded`
    #       id 冲突时，用 `statement.excluded` 里的值更新两列
    return insert(Chunk).values(list(rows))
