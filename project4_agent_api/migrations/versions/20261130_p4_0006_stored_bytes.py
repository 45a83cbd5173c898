"""Count the bytes that each user stores: triggers record each change, and a worker adds the changes up.

Revision: p4_0006.
"""

from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "p4_0006"
down_revision = "p4_0005"
branch_labels = None
depends_on = None


class _Counted(NamedTuple):
    """A table whose rows count, with expressions on `{row}`.

    Attributes:
        owner: The owner of a row; null for rows that belong to nobody.
        size: Bytes of a row.
        changing: The columns whose changes change the size; empty if rows are never changed.
    """

    kind: str
    owner: str
    size: str
    changing: str


_OF_STORE = "CASE WHEN {row}.prefix ~ '^[0-9a-f-]{{36}}(\\.|$)' THEN split_part({row}.prefix, '.', 1)::uuid END"
_TABLES = {
    # Their checkpoints and runs count too: the statements that store these add to the column.
    "threads": _Counted("threads", "{row}.owner_id", "{row}.stored_bytes", "stored_bytes"),
    "assistants": _Counted("assistants", "{row}.owner_id", "{row}.stored_bytes", "stored_bytes"),
    "documents": _Counted(
        # A chunk is stored with its vector, in the vector index and in the inverted index.
        "documents",
        "{row}.owner_id",
        "1024 + {row}.size_bytes + 4096 * {row}.chunk_count::bigint",
        "size_bytes, chunk_count",
    ),
    "store": _Counted("memories", _OF_STORE, "200 + octet_length({row}.value::text)", "value"),
    "store_vectors": _Counted("memories", _OF_STORE, "200 + pg_column_size({row}.embedding)", ""),
    "crons": _Counted(
        "crons",
        "{row}.owner_id",
        "512 + octet_length({row}.payload::text) + octet_length({row}.metadata::text)",
        "payload, metadata",
    ),
    "webhooks": _Counted("webhooks", "{row}.owner_id", "512 + octet_length({row}.body::text)", ""),
    "idempotency_keys": _Counted(
        "idempotency_keys", "{row}.owner_id", "512 + coalesce(octet_length({row}.body), 0)", "body"
    ),
}
_FUNCTION = """
    CREATE FUNCTION count_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        owner uuid;
        change bigint := 0;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            owner := {old_owner};
            change := change - ({old_size});
        END IF;
        IF TG_OP <> 'DELETE' THEN
            owner := {new_owner};
            change := change + ({new_size});
        END IF;
        IF change <> 0 AND owner IS NOT NULL THEN
            INSERT INTO stored_bytes_changes (owner_id, kind, bytes) VALUES (owner, '{kind}', change);
        END IF;
        RETURN NULL;
    END $$
"""
_VERSION_SIZE = "512 + octet_length({row}.config::text) + octet_length({row}.context::text)"
_VERSION_SIZE += " + octet_length({row}.metadata::text) + coalesce(octet_length({row}.description), 0)"
_COUNT_VERSIONS = f"""
    CREATE FUNCTION count_assistant_versions() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            UPDATE assistants SET stored_bytes = stored_bytes - ({_VERSION_SIZE.format(row="OLD")})
            WHERE assistant_id = OLD.assistant_id;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            UPDATE assistants SET stored_bytes = stored_bytes + ({_VERSION_SIZE.format(row="NEW")})
            WHERE assistant_id = NEW.assistant_id;
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608  constants


def upgrade() -> None:
    """Create the tables and triggers, and count the stored bytes. Writes wait meanwhile: about 1 s for a million rows.

    Threads count as empty until retention has measured them.
    """
    op.create_table(
        "stored_bytes",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "kind", name="pk_stored_bytes"),
    )
    # Without a primary key: rows are only inserted, added up, and deleted.
    op.create_table(
        "stored_bytes_changes",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_stored_bytes_changes_owner_id", "stored_bytes_changes", ["owner_id"])
    for table in ("threads", "assistants"):
        op.add_column(table, sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    for table, counted in _TABLES.items():
        _create_triggers(table, counted)
    op.execute(_COUNT_VERSIONS)
    _create_trigger("assistant_versions", "INSERT OR DELETE OR UPDATE", "count_assistant_versions")
    op.execute(f"""
        UPDATE assistants SET stored_bytes = versions.bytes FROM (
            SELECT assistant_id, sum({_VERSION_SIZE.format(row="v")}) AS bytes FROM assistant_versions v GROUP BY 1
        ) AS versions WHERE versions.assistant_id = assistants.assistant_id
    """)  # noqa: S608  constants


def _create_triggers(table: str, counted: _Counted) -> None:
    parts = {
        f"{state.lower()}_{name}": expression.format(row=state)
        for state in ("OLD", "NEW")
        for name, expression in (("owner", counted.owner), ("size", counted.size))
    }
    function = f"count_{table}"
    op.execute(_FUNCTION.format(table=table, kind=counted.kind, **parts))
    if table in {"threads", "assistants"}:
        # Decided without calling the function, because most of these statements change nothing.
        _create_trigger(table, "INSERT", function, "NEW.stored_bytes <> 0", name="count_inserted")
        _create_trigger(table, "DELETE", function, "OLD.stored_bytes <> 0", name="count_deleted")
        changed = "OLD.stored_bytes <> NEW.stored_bytes"
        _create_trigger(table, "UPDATE OF stored_bytes", function, changed, name="count_changed")
        return
    events = "INSERT OR DELETE" + (f" OR UPDATE OF {counted.changing}" if counted.changing else "")
    _create_trigger(table, events, function)
    owner, size = counted.owner.format(row="t"), counted.size.format(row="t")
    op.execute(f"""
        INSERT INTO stored_bytes_changes (owner_id, kind, bytes)
        SELECT {owner}, '{counted.kind}', sum({size}) FROM {table} AS t WHERE ({owner}) IS NOT NULL GROUP BY 1
    """)  # noqa: S608  constants


def _create_trigger(table: str, events: str, function: str, when: str = "true", *, name: str = "count_bytes") -> None:
    op.execute(f"""
        CREATE TRIGGER {name} AFTER {events} ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {function}()
    """)


def downgrade() -> None:
    """Drop the triggers and tables."""
    for table in ("threads", "assistants"):
        for name in ("count_inserted", "count_deleted", "count_changed"):
            op.execute(f"DROP TRIGGER {name} ON {table}")
        op.drop_column(table, "stored_bytes")
    for table in (*(_TABLES.keys() - {"threads", "assistants"}), "assistant_versions"):
        op.execute(f"DROP TRIGGER count_bytes ON {table}")
    for table in (*_TABLES, "assistant_versions"):
        op.execute(f"DROP FUNCTION count_{table}")
    op.drop_table("stored_bytes_changes")
    op.drop_table("stored_bytes")
