"""Documents, their chunks with embeddings, the lexical index, and the job engine's tables.

Revision: p3_0001, the first of stage 3.
"""

import re
from importlib.resources import files

import sqlalchemy as sa
from alembic import op

revision = "p3_0001"
down_revision = None
branch_labels = ("project3",)
depends_on = "p2_0001"

# procrastinate's own migrations up to this version; a later one gets a revision of its own.
_FIRST, _LAST = "00.00.00", "03.04.00"
_DROP_PROCRASTINATE = """
DO $$ DECLARE thing record; BEGIN
    FOR thing IN SELECT oid::regclass AS name FROM pg_class
        WHERE relname LIKE 'procrastinate\\_%' AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
    LOOP EXECUTE 'DROP TABLE ' || thing.name || ' CASCADE'; END LOOP;
    FOR thing IN SELECT oid::regprocedure AS name FROM pg_proc
        WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = current_schema()::regnamespace
    LOOP EXECUTE 'DROP FUNCTION ' || thing.name || ' CASCADE'; END LOOP;
    FOR thing IN SELECT oid::regtype AS name FROM pg_type
        WHERE typname LIKE 'procrastinate\\_%' AND typtype IN ('e', 'c')
        AND typnamespace = current_schema()::regnamespace
    LOOP EXECUTE 'DROP TYPE ' || thing.name || ' CASCADE'; END LOOP;
END $$
"""


def upgrade() -> None:
    """Create the tables of stage 3 and of the job engine."""
    # Imported here, because an earlier stage loads this file, too, and does not have pgvector.
    from pgvector.sqlalchemy import HALFVEC  # noqa: PLC0415  for stages that have the package

    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "documents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("chunk_total", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("claim", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('processing', 'ready', 'failed', 'deleted')", name="ck_documents_status"),
        sa.PrimaryKeyConstraint("id", name="pk_documents"),
        sa.UniqueConstraint("number", name="uq_documents_number"),
    )
    op.create_index(
        "uq_documents_owner_id_sha256",
        "documents",
        ["owner_id", "sha256"],
        unique=True,
        postgresql_where=sa.text("status <> 'deleted'"),
    )
    op.create_index("ix_documents_owner_id_id", "documents", ["owner_id", "id"])
    op.create_index("ix_documents_hidden", "documents", ["owner_id"], postgresql_where=sa.text("status <> 'ready'"))
    op.create_table(
        "document_parts",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name="fk_document_parts_document_id_documents", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("document_id", "index", name="pk_document_parts"),
    )
    op.execute("ALTER TABLE document_parts ALTER COLUMN data SET STORAGE EXTERNAL")  # mostly compressed already
    op.create_table(
        "chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer()),
        sa.Column("heading", sa.Text()),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("term_count", sa.Integer(), nullable=False),
        sa.Column("embedding", HALFVEC(384), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name="fk_chunks_document_id_documents", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_chunks"),
    )
    op.create_index("uq_chunks_document_id_index", "chunks", ["document_id", "index"], unique=True)
    op.create_index("ix_chunks_owner_id_language", "chunks", ["owner_id", "language"])
    op.create_index(
        "ix_chunks_embedding",
        "chunks",
        ["embedding"],
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
    )
    op.create_table(
        "postings",
        sa.Column("term", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Integer(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("frequency", sa.SmallInteger(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document"], ["documents.number"], name="fk_postings_document_documents", ondelete="CASCADE"
        ),
        # A covering index: searches never read the table itself.
        sa.PrimaryKeyConstraint(
            "term", "document", "chunk", name="pk_postings", postgresql_include=["frequency", "length"]
        ),
    )
    op.create_index("ix_postings_document", "postings", ["document"])
    op.create_table(
        "corpora",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("chunk_count", sa.BigInteger(), nullable=False),
        sa.Column("term_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "language", name="pk_corpora"),
    )
    op.create_table(
        "search_index",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_search_index_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_search_index"),
    )
    _create_procrastinate()


def _create_procrastinate() -> None:
    """Run procrastinate's migrations, which never change once they are published."""
    folder = files("procrastinate.sql").joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    scripts = [
        folder.joinpath(name).read_text(encoding="utf-8") for name in names if _FIRST <= name[: len(_LAST)] <= _LAST
    ]
    # The driver's cursor, because the scripts contain several statements, colons and percent signs.
    cursor = op.get_bind().connection.cursor()
    cursor.execute(_with_all_values("\n".join(scripts)))
    cursor.close()


_ADDED_VALUE = re.compile(r"ALTER TYPE (\w+) ADD VALUE ('\w+')(?: (BEFORE|AFTER) ('\w+'))?;")


def _with_all_values(script: str) -> str:
    """Create the enumerations with the values that later scripts add.

    Before version 17, PostgreSQL cannot use a value in the transaction that added it.
    """
    for added in _ADDED_VALUE.finditer(script):
        name, value, where, neighbour = added.groups()
        made = re.search(rf"CREATE TYPE {name} AS ENUM \(.*?\n\);", script, re.DOTALL)
        if made is None:
            raise ValueError(name)
        if where:
            pair = f"{value}, {neighbour}" if where == "BEFORE" else f"{neighbour}, {value}"
            longer = made[0].replace(neighbour, pair)
        else:
            longer = made[0].removesuffix("\n);") + f"\n    , {value}\n);"
        script = script.replace(made[0], longer)
    return _ADDED_VALUE.sub("", script)


def downgrade() -> None:
    """Drop the tables. The extension stays, because others may use it."""
    op.execute(_DROP_PROCRASTINATE)
    for table in ("search_index", "corpora", "postings", "chunks", "document_parts", "documents"):
        op.drop_table(table)
