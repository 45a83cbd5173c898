"""Indexes by which threads go without reading every schedule, and a thread is followed without reading every run.

Revision: p4_0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "p4_0002"
down_revision = "p4_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database forward. Runs wait to be stored meanwhile: a second or two where there are a million."""
    op.create_index("ix_crons_thread_id", "crons", ["thread_id"], postgresql_where=sa.text("thread_id IS NOT NULL"))
    op.create_index("ix_crons_assistant_id", "crons", ["assistant_id"])
    over = sa.text("status NOT IN ('pending', 'running')")
    op.create_index("ix_runs_over", "runs", ["thread_id", "updated_at"], postgresql_where=over)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_runs_over", "runs")
    op.drop_index("ix_crons_assistant_id", "crons")
    op.drop_index("ix_crons_thread_id", "crons")
