"""Collections of documents.

Revision: p3_0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "p3_0007"
down_revision = "p3_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and the column of the documents."""
    op.create_table(
        "collections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
    )
    op.create_index("uq_collections_owner_id_name", "collections", ["owner_id", "name"], unique=True)
    op.add_column("documents", sa.Column("collection_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "fk_documents_collection_id_collections",
        "documents",
        "collections",
        ["collection_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(
        "ix_documents_collection_id",
        "documents",
        ["collection_id"],
        postgresql_where=sa.text("collection_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop the column and the table."""
    op.drop_column("documents", "collection_id")
    op.drop_table("collections")
