"""Add approvals of tool calls, each of which permits one execution.

Revision: p4_0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "p4_0003"
down_revision = "p4_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "tool_approvals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("thread_id", sa.Uuid(), nullable=False),
        sa.Column("action_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tool_approvals"),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name="fk_tool_approvals_thread_id_threads", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_tool_approvals_thread_id", "tool_approvals", ["thread_id"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("tool_approvals")
