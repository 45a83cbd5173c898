"""Count the bytes of stored summaries of documents.

Revision: p4_0010.
"""

from alembic import op

revision = "p4_0010"
down_revision = "p4_0009"
branch_labels = None
depends_on = "p3_0006"


def upgrade() -> None:
    """Create the trigger. The table is as old as this migration, so there is nothing to count yet."""
    op.execute("""
        CREATE FUNCTION count_summaries() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            changed summaries := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
            bytes bigint := 200 + octet_length(changed.text);
        BEGIN
            INSERT INTO stored_bytes_changes (owner_id, kind, bytes)
            VALUES (changed.owner_id, 'documents', CASE TG_OP WHEN 'INSERT' THEN bytes ELSE -bytes END);
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER count_bytes AFTER INSERT OR DELETE ON summaries FOR EACH ROW
        EXECUTE FUNCTION count_summaries()
    """)


def downgrade() -> None:
    """Drop the trigger."""
    op.execute("DROP TRIGGER count_bytes ON summaries")
    op.execute("DROP FUNCTION count_summaries")
