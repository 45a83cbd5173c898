"""Count the rows of replaced versions of documents.

Revision: p4_0009.
"""

from alembic import op

revision = "p4_0009"
down_revision = "p4_0008"
branch_labels = None
depends_on = "p3_0005"


def upgrade() -> None:
    """Create the trigger. The table is as old as this migration, so there is nothing to count yet."""
    op.execute("""
        CREATE FUNCTION count_past_versions() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO stored_bytes_changes (owner_id, kind, bytes) VALUES (NEW.owner_id, 'documents', 512);
            ELSE
                INSERT INTO stored_bytes_changes (owner_id, kind, bytes) VALUES (OLD.owner_id, 'documents', -512);
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER count_bytes AFTER INSERT OR DELETE ON past_versions FOR EACH ROW
        EXECUTE FUNCTION count_past_versions()
    """)


def downgrade() -> None:
    """Drop the trigger."""
    op.execute("DROP TRIGGER count_bytes ON past_versions")
    op.execute("DROP FUNCTION count_past_versions")
