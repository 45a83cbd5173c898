"""Find the passages nearest to a question. Only the SQL is judged, so no PostgreSQL is needed."""

from pgvector.sqlalchemy import Vector
from sqlalchemy import Select, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class Chunk(Base):
    """A passage of a document that belongs to one user."""

    __tablename__ = "chunks"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int]
    text: Mapped[str]
    embedding: Mapped[list[float]] = mapped_column(Vector(384))


def nearest(
    owner_id: int, question: list[float], limit: int = 5, max_distance: float = 0.5
) -> Select[tuple[str, float]]:
    """Return the query for text and similarity (1 is identical) of the owner's nearest passages.

    Passages farther away than `max_distance` (cosine distance, 0 to 2) are left out.
    """
    # TODO: select the text and `(1 - distance)` labelled "similarity"; filter; nearest first; limit
    #       查询 text，以及命名为 similarity 的 (1 - distance)；过滤；最近的在前；限制条数
    return select(Chunk.text, Chunk.id.label("similarity"))
