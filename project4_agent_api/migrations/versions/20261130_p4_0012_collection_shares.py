"""Shares of collections.

Revision: p4_0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "p4_0012"
down_revision = "p4_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, with a trigger that counts its rows as stored by the owner of the collection."""
    op.create_table(
        "collection_shares",
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("writable", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_collection_shares_collection_id_collections",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_collection_shares_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "user_id", name="pk_collection_shares"),
    )
    op.create_index("ix_collection_shares_user_id", "collection_shares", ["user_id"])
    op.execute("""
        CREATE TRIGGER count_bytes AFTER INSERT OR DELETE ON collection_shares FOR EACH ROW
        EXECUTE FUNCTION count_collections()
    """)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("collection_shares")
