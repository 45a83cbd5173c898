"""Record the tokens of model calls, by run, and by user, day and model.

Revision: p4_0016.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "p4_0016"
down_revision = "p4_0015"
branch_labels = None
depends_on = None

_NUMBERS = ("calls", "input", "cached_input", "output", "total")


def upgrade() -> None:
    """Add the column, without rewriting the table, and the table."""
    op.add_column("runs", sa.Column("usage", JSONB(), nullable=True))
    op.create_table(
        "model_usage",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.PrimaryKeyConstraint("owner_id", "day", "model", name="pk_model_usage"),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("model_usage")
    op.drop_column("runs", "usage")
