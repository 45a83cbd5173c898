"""A graph of embeddings for each language, and counts by which a search knows its cost beforehand.

Revision: p3_0002.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "p3_0002"
down_revision = "p3_0001"
branch_labels = None
depends_on = None

_LANGUAGES = ("en", "zh")
_GRAPH: dict[str, Any] = {"postgresql_using": "hnsw", "postgresql_ops": {"embedding": "halfvec_cosine_ops"}}


def upgrade() -> None:
    """Create an index per language and the counts. Building takes minutes for some hundred thousand chunks."""
    op.drop_index("ix_chunks_embedding", "chunks")
    for language in _LANGUAGES:
        where = sa.text(f"language = '{language}'")
        op.create_index(f"ix_chunks_embedding_{language}", "chunks", ["embedding"], postgresql_where=where, **_GRAPH)
    op.create_table(
        "document_languages",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("term_count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name="fk_document_languages_document_id_documents", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("document_id", "language", name="pk_document_languages"),
    )
    op.create_table(
        "terms",
        sa.Column("term", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("term", name="pk_terms"),
    )
    op.execute(
        "INSERT INTO document_languages (document_id, language, chunk_count, term_count)"
        " SELECT document_id, language, count(*), sum(term_count) FROM chunks"
        " JOIN documents ON documents.id = document_id WHERE status = 'ready' GROUP BY document_id, language"
    )
    op.execute(
        "INSERT INTO terms (term, chunk_count) SELECT term, count(*) FROM postings"
        " JOIN documents ON number = document WHERE status = 'ready' GROUP BY term"
    )


def downgrade() -> None:
    """Restore the common index, and drop the counts."""
    op.drop_table("terms")
    op.drop_table("document_languages")
    for language in _LANGUAGES:
        op.drop_index(f"ix_chunks_embedding_{language}", "chunks")
    op.create_index("ix_chunks_embedding", "chunks", ["embedding"], **_GRAPH)
