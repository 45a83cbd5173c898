"""Add an index: listing the runs of a user reads no others.

Revision: p4_0015.
"""

from alembic import op

revision = "p4_0015"
down_revision = "p4_0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index. Storing a run waits meanwhile: a second or two with a million runs."""
    op.create_index("ix_runs_owner_id_created_at", "runs", ["owner_id", "created_at", "run_id"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_runs_owner_id_created_at", "runs")
