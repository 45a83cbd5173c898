"""Change a table that has rows already, and be able to go back: one Alembic revision."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `users.plan`, required, "free" for existing rows, with the index `users_plan`."""
    op.add_column("users", sa.Column("plan", sa.String(20), nullable=False, server_default="free"))
    op.create_index("users_plan", "users", ["plan"])


def downgrade() -> None:
    """Undo the upgrade, in the opposite order."""
    op.drop_index("users_plan", table_name="users")
    op.drop_column("users", "plan")
