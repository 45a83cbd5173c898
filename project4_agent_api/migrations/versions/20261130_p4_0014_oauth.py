"""Store the clients of OAuth, and what users allowed them.

Revision: p4_0014.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "p4_0014"
down_revision = "p4_0013"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "oauth_clients",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("redirect_uris", JSONB(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
    )
    op.create_index("ix_oauth_clients_expires_at", "oauth_clients", ["expires_at"])
    op.create_table(
        "oauth_grants",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("client_id", sa.Uuid(), sa.ForeignKey("oauth_clients.id", ondelete="CASCADE"), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("code_challenge", sa.String(43), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("family_hash", sa.String(64), nullable=True),
        sa.Column("refresh_hash", sa.String(64), nullable=True),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("password_digest", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
    )
    op.create_index("uq_oauth_grants_code_hash", "oauth_grants", ["code_hash"], unique=True)
    op.create_index("uq_oauth_grants_family_hash", "oauth_grants", ["family_hash"], unique=True)
    op.create_index("ix_oauth_grants_user_id_id", "oauth_grants", ["user_id", "id"])
    op.create_index("ix_oauth_grants_client_id", "oauth_grants", ["client_id"])
    op.create_index("ix_oauth_grants_expires_at", "oauth_grants", ["expires_at"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("oauth_grants")
    op.drop_table("oauth_clients")
