"""Add feedback on runs, which counts as stored by its owner.

Revision: p4_0008.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "p4_0008"
down_revision = "p4_0007"
branch_labels = None
depends_on = None

_SIZE = " + ".join(
    [
        "512",
        *(f"coalesce(octet_length({{row}}.{name}::text), 0)" for name in ("value", "comment", "correction", "extra")),
    ]
)
_COUNT = f"""
    CREATE FUNCTION count_run_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        owner uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.owner_id ELSE NEW.owner_id END;
        change bigint := 0;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            change := change - ({_SIZE.format(row="OLD")});
        END IF;
        IF TG_OP <> 'DELETE' THEN
            change := change + ({_SIZE.format(row="NEW")});
        END IF;
        IF change <> 0 THEN
            INSERT INTO stored_bytes_changes (owner_id, kind, bytes) VALUES (owner, 'feedback', change);
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608  constants


def upgrade() -> None:
    """Create the table and its trigger."""
    op.create_table(
        "run_feedback",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("thread_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("value", JSONB(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("correction", JSONB(), nullable=True),
        sa.Column("extra", JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_run_feedback"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_run_feedback_run_id_runs", ondelete="CASCADE"),
    )
    op.create_index("ix_run_feedback_run_id", "run_feedback", ["run_id"])
    op.create_index("ix_run_feedback_owner_id_created_at", "run_feedback", ["owner_id", "created_at"])
    op.execute(_COUNT)
    op.execute("""
        CREATE TRIGGER count_bytes AFTER INSERT OR UPDATE OR DELETE ON run_feedback
        FOR EACH ROW EXECUTE FUNCTION count_run_feedback()
    """)


def downgrade() -> None:
    """Drop the table and its trigger."""
    op.drop_table("run_feedback")
    op.execute("DROP FUNCTION count_run_feedback")
