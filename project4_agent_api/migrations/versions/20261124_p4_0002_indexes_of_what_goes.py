"""Add indexes: deleting a thread reads no other schedules, and following a thread reads no other runs.

Revision: p4_0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "p4_0002"
down_revision = "p4_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes. Storing a run waits meanwhile: a second or two with a million runs."""
    op.create_index("ix_crons_thread_id", "crons", ["thread_id"], postgresql_where=sa.text("thread_id IS NOT NULL"))
    op.create_index("ix_crons_assistant_id", "crons", ["assistant_id"])
    over = sa.text("status NOT IN ('pending', 'running')")
    op.create_index("ix_runs_over", "runs", ["thread_id", "updated_at"], postgresql_where=over)


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("ix_runs_over", "runs")
    op.drop_index("ix_crons_assistant_id", "crons")
    op.drop_index("ix_crons_thread_id", "crons")
