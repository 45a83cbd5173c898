"""Renaming a document, or changing its metadata or tags, changes the version of its owner's documents.

Revision: p4_0007.
"""

from alembic import op

revision = "p4_0007"
down_revision = "p4_0006"
branch_labels = None
depends_on = "p3_0004"


def upgrade() -> None:
    """Create the trigger."""
    op.execute("""
        CREATE CONSTRAINT TRIGGER document_is_labelled AFTER UPDATE OF filename, metadata, tags ON documents
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.status = 'ready' AND (OLD.filename, OLD.metadata, OLD.tags) IS DISTINCT FROM
            (NEW.filename, NEW.metadata, NEW.tags))
        EXECUTE FUNCTION change_document_version()
    """)


def downgrade() -> None:
    """Drop the trigger."""
    op.execute("DROP TRIGGER document_is_labelled ON documents")
