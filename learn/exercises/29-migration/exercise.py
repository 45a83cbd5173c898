"""Change a table that has rows already, and be able to go back: one Alembic revision."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
# TODO: the revision before this one is "0001"
#       上一个版本是 0001
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `users.plan`, required, "free" for existing rows, with the index `users_plan`."""
    # TODO: add the column with a server default, then create the index
    #       先加上带服务器默认值的列，再建索引


def downgrade() -> None:
    """Undo the upgrade, in the opposite order."""
    # TODO: drop the index, then the column
    #       先删索引，再删列
