"""Metadata and tags of documents.

Revision: p3_0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "p3_0004"
down_revision = "p3_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, with defaults for processes of the version before."""
    op.add_column("documents", sa.Column("metadata", JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.add_column("documents", sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("documents", "tags")
    op.drop_column("documents", "metadata")
