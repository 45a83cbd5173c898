"""Versions of documents.

Revision: p3_0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "p3_0005"
down_revision = "p3_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, with defaults for processes of the version before.

    The table is rewritten: about a second for a million documents, because files and chunks are in others.
    """
    op.add_column("documents", sa.Column("first_id", sa.Uuid(), nullable=True))
    op.add_column("documents", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.add_column("documents", sa.Column("replaces", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    public_id = sa.Computed("coalesce(first_id, id)", persisted=True)
    op.add_column("documents", sa.Column("public_id", sa.Uuid(), public_id, nullable=False))
    op.create_check_constraint("ck_documents_replaces", "documents", "NOT (replaces AND status = 'ready')")
    op.create_index(
        "uq_documents_public_id_replaces",
        "documents",
        ["public_id", "replaces"],
        unique=True,
        postgresql_where=sa.text("status <> 'deleted'"),
    )
    op.create_table(
        "past_versions",
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("public_id", "version", name="pk_past_versions"),
    )


def downgrade() -> None:
    """Drop the columns. Versions that were to replace another become documents of their own."""
    op.drop_table("past_versions")
    op.drop_index("uq_documents_public_id_replaces", "documents")
    op.drop_constraint("ck_documents_replaces", "documents", type_="check")
    for column in ("public_id", "replaces", "version", "first_id"):
        op.drop_column("documents", column)
