"""Documents say what of them could not be read, chunks whether OCR read them; the type of a text is part of its hash.

Revision: p3_0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "p3_0003"
down_revision = "p3_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns, and hash the content of tables, pages and Markdown together with their type.

    Text files were stored once for one content. The same bytes are another document as CSV than as plain text. A file
    that a process of the version before stores meanwhile can be stored a second time. The columns come last: from then
    on nobody else can read the tables until the transaction ends.
    """
    op.execute(
        "UPDATE documents SET sha256 = encode(sha256(convert_to(sha256 || ' ' || media_type, 'UTF8')), 'hex')"
        " WHERE media_type IN ('text/csv', 'text/html', 'text/markdown')"
    )
    op.add_column("documents", sa.Column("notice", sa.Text(), nullable=True))
    op.add_column("chunks", sa.Column("recognised", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    """Drop the columns. The hashes stay, so a text that is uploaded again is stored a second time."""
    op.drop_column("chunks", "recognised")
    op.drop_column("documents", "notice")
