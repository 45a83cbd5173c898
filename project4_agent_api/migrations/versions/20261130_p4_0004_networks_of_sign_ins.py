"""Store the hashed network of a sign-in, from which later attempts have a count of their own.

Revision: p4_0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "p4_0004"
down_revision = "p4_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and an index that also finds the sign-ins of a user."""
    op.add_column("sign_ins", sa.Column("network_hash", sa.String(64), nullable=True))
    op.create_index("ix_sign_ins_user_id_network_hash", "sign_ins", ["user_id", "network_hash"])
    op.drop_index("ix_sign_ins_user_id", "sign_ins")


def downgrade() -> None:
    """Remove the column."""
    op.create_index("ix_sign_ins_user_id", "sign_ins", ["user_id"])
    op.drop_index("ix_sign_ins_user_id_network_hash", "sign_ins")
    op.drop_column("sign_ins", "network_hash")
