"""Summaries of documents.

Revision: p3_0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "p3_0006"
down_revision = "p3_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "summaries",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["documents.id"], name="fk_summaries_version_id_documents", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("version_id", "model", name="pk_summaries"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("summaries")
