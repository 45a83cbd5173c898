"""Invitations to collections.

Revision: p4_0017.
"""

import sqlalchemy as sa
from alembic import op

revision = "p4_0017"
down_revision = "p4_0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, with a trigger that counts its rows as stored by the owner of the collection."""
    op.create_table(
        "collection_invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("writable", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name="fk_collection_invitations_collection_id_collections",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_collection_invitations_user_id_users", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_collection_invitations"),
    )
    op.create_index(
        "uq_collection_invitations_email",
        "collection_invitations",
        ["collection_id", sa.text("lower(email)")],
        unique=True,
    )
    op.create_index("ix_collection_invitations_user_id", "collection_invitations", ["user_id"])
    op.execute("""
        CREATE TRIGGER count_bytes AFTER INSERT OR DELETE ON collection_invitations FOR EACH ROW
        EXECUTE FUNCTION count_collections()
    """)
    op.add_column("collection_shares", sa.Column("email", sa.String(254), nullable=True))


def downgrade() -> None:
    """Drop the table and the column."""
    op.drop_column("collection_shares", "email")
    op.drop_table("collection_invitations")
