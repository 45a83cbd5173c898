"""Count collections, and let moving a document into one change the version of its owner's documents.

Revision: p4_0011.
"""

from alembic import op

revision = "p4_0011"
down_revision = "p4_0010"
branch_labels = None
depends_on = "p3_0007"

_LABELLED = """
    CREATE CONSTRAINT TRIGGER document_is_labelled AFTER UPDATE OF {columns} ON documents
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.status = 'ready' AND ({old}) IS DISTINCT FROM ({new}))
    EXECUTE FUNCTION change_document_version()
"""


def _label(columns: list[str]) -> None:
    op.execute("DROP TRIGGER document_is_labelled ON documents")
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("OLD", "NEW"))
    op.execute(_LABELLED.format(columns=", ".join(columns), old=old, new=new))


def upgrade() -> None:
    """Create the triggers. The table is as old as this migration, so there is nothing to count yet."""
    _label(["filename", "metadata", "tags", "collection_id"])
    op.execute("""
        CREATE FUNCTION count_collections() RETURNS trigger LANGUAGE plpgsql AS $$
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
        CREATE TRIGGER count_bytes AFTER INSERT OR DELETE ON collections FOR EACH ROW
        EXECUTE FUNCTION count_collections()
    """)


def downgrade() -> None:
    """Restore the trigger of before, and drop the others."""
    op.execute("DROP TRIGGER count_bytes ON collections")
    op.execute("DROP FUNCTION count_collections")
    _label(["filename", "metadata", "tags"])
