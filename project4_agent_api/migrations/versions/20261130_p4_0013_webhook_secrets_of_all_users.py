"""Let users without an account have a secret for webhooks: the local user, and those of a project's own authentication.

Revision: p4_0013.
"""

from alembic import op

revision = "p4_0013"
down_revision = "p4_0012"
branch_labels = None
depends_on = None

# The foreign key has one of two names, because the naming of constraints is younger than some databases.
_DROP = """
    DO $$
    DECLARE
        name text;
    BEGIN
        FOR name IN
            SELECT conname FROM pg_constraint WHERE conrelid = 'webhook_secrets'::regclass AND contype = 'f'
        LOOP
            EXECUTE format('ALTER TABLE webhook_secrets DROP CONSTRAINT %I', name);
        END LOOP;
    END $$
"""


def upgrade() -> None:
    """Drop the foreign key. The deletion of an account deletes its secret."""
    op.execute(_DROP)


def downgrade() -> None:
    """Delete the secrets of users without an account, and restore the foreign key."""
    op.execute("DELETE FROM webhook_secrets WHERE user_id NOT IN (SELECT id FROM users)")
    name = "fk_webhook_secrets_user_id_users"
    op.create_foreign_key(name, "webhook_secrets", "users", ["user_id"], ["id"], ondelete="CASCADE")
