"""Create accounts, assistants, threads, runs, schedules, and LangGraph's own tables.

Revision: p4_0001, the first of stage 4.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "p4_0001"
down_revision = None
branch_labels = ("project4",)
depends_on = "p3_0002"

# LangGraph's own migrations up to these; later ones get a revision of their own. Its indexes on `thread_id` alone are
# omitted: each primary key begins with that column, so they would only slow down writes.
_CHECKPOINTS, _REDUNDANT = 10, (6, 7, 8)
_STORE = 4


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _id(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def _user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=f"fk_{table}_user_id_users", ondelete="CASCADE")


def upgrade() -> None:
    """Create the tables."""
    _make_accounts()
    _make_document_versions()
    _make_idempotency_keys()
    _make_assistants()
    _make_threads_and_runs()
    _make_webhooks()
    _make_crons()
    _make_langgraph()


def _make_accounts() -> None:
    op.create_table(
        "accounts",
        _id("user_id"),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("role IN ('user', 'admin')", name="ck_accounts_role"),
        _user("accounts"),
        sa.PrimaryKeyConstraint("user_id", name="pk_accounts"),
    )
    op.create_table(
        "sign_ins",
        _id("id"),
        _id("user_id"),
        sa.Column("family_hash", sa.String(64), nullable=False),
        sa.Column("refresh_hash", sa.String(64), nullable=False),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("password_digest", sa.String(64), nullable=False),
        _moment("created_at"),
        _moment("expires_at"),
        _moment("ended_at", nullable=True),
        _user("sign_ins"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_ins"),
    )
    op.create_index("uq_sign_ins_family_hash", "sign_ins", ["family_hash"], unique=True)
    op.create_index("ix_sign_ins_user_id", "sign_ins", ["user_id"])
    op.create_index("ix_sign_ins_expires_at", "sign_ins", ["expires_at"])
    op.create_table(
        "api_keys",
        _id("id"),
        _id("user_id"),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("beginning", sa.String(20), nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        _moment("created_at"),
        _moment("expires_at", nullable=True),
        _moment("last_used_at", nullable=True),
        _user("api_keys"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("uq_api_keys_key_hash", "api_keys", ["key_hash"], unique=True)
    op.create_index("ix_api_keys_user_id_id", "api_keys", ["user_id", "id"])


# Every change of an owner's searchable documents changes the version in the same transaction. The triggers are deferred
# to its end, so that transactions block each other no longer, and in no other order, than stage 3's statements do.
_VERSIONS = (
    """
    CREATE FUNCTION change_document_version() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO document_versions (owner_id, version) VALUES (OLD.owner_id, gen_random_uuid())
        ON CONFLICT (owner_id) DO UPDATE SET version = excluded.version;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER document_is_found AFTER UPDATE OF status ON documents DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND 'ready' IN (OLD.status, NEW.status))
    EXECUTE FUNCTION change_document_version()
    """,
    """
    CREATE CONSTRAINT TRIGGER document_is_gone AFTER DELETE ON documents DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.status = 'ready') EXECUTE FUNCTION change_document_version()
    """,
)


def _make_document_versions() -> None:
    op.create_table(
        "document_versions",
        _id("owner_id"),
        _id("version"),
        sa.PrimaryKeyConstraint("owner_id", name="pk_document_versions"),
    )
    for statement in _VERSIONS:
        op.execute(statement)


def _make_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.String(64), nullable=False),
        _id("owner_id"),
        sa.Column("fingerprint", sa.String(64)),
        _id("claim"),
        _moment("lease_until"),
        _id("made_id"),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("status", sa.SmallInteger()),
        sa.Column("headers", JSONB()),
        sa.Column("body", sa.LargeBinary()),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_owner_id", "idempotency_keys", ["owner_id"])


def _described() -> list[sa.Column[object]]:
    return [
        sa.Column("graph_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("context", JSONB(), nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
    ]


def _make_assistants() -> None:
    op.create_table(
        "assistants",
        _id("assistant_id"),
        _id("owner_id", nullable=True),
        *_described(),
        sa.Column("version", sa.Integer(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("assistant_id", name="pk_assistants"),
    )
    op.create_index("ix_assistants_owner_id_created_at", "assistants", ["owner_id", "created_at"])
    op.create_table(
        "assistant_versions",
        _id("assistant_id"),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        *_described(),
        _moment("created_at"),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["assistants.assistant_id"],
            name="fk_assistant_versions_assistant_id_assistants",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("assistant_id", "version", name="pk_assistant_versions"),
    )


def _make_threads_and_runs() -> None:
    op.create_table(
        "threads",
        _id("thread_id"),
        _id("owner_id"),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("values", JSONB()),
        sa.Column("interrupts", JSONB(), nullable=False),
        sa.Column("error", JSONB()),
        sa.Column("ttl_strategy", sa.String(20)),
        sa.Column("ttl_minutes", sa.Double()),
        _moment("expires_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        _moment("state_updated_at"),
        sa.CheckConstraint("status IN ('idle', 'busy', 'interrupted', 'error')", name="ck_threads_status"),
        sa.PrimaryKeyConstraint("thread_id", name="pk_threads"),
    )
    op.create_index("ix_threads_owner_id_created_at", "threads", ["owner_id", "created_at"])
    op.create_index(
        "ix_threads_metadata",
        "threads",
        ["metadata"],
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_threads_expires_at", "threads", ["expires_at"], postgresql_where=sa.text("expires_at IS NOT NULL")
    )
    op.create_table(
        "runs",
        _id("run_id"),
        _id("thread_id"),
        _id("assistant_id"),
        _id("owner_id"),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
        sa.Column("kwargs", JSONB(), nullable=False),
        sa.Column("multitask_strategy", sa.String(20), nullable=False),
        sa.Column("request_id", sa.Text()),
        sa.Column("traceparent", sa.Text()),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("failures", sa.SmallInteger(), nullable=False, server_default="0"),
        _id("claim", nullable=True),
        _moment("lease_until", nullable=True),
        sa.Column("cancel", sa.String(20)),
        sa.Column("error", JSONB()),
        _moment("due_at"),
        _moment("started_at", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')", name="ck_runs_status"
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name="fk_runs_thread_id_threads", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_thread_id_due_at", "runs", ["thread_id", "due_at", "run_id"])
    running = sa.text("status = 'running'")
    op.create_index("uq_runs_running", "runs", ["thread_id"], unique=True, postgresql_where=running)
    pending = sa.text("status = 'pending'")
    op.create_index("ix_runs_pending", "runs", ["due_at"], postgresql_where=pending)
    op.create_index("ix_runs_waiting", "runs", ["owner_id", "due_at", "run_id"], postgresql_where=pending)
    op.create_index("ix_runs_executed", "runs", ["owner_id"], postgresql_where=running)
    op.create_index("ix_runs_lease", "runs", ["lease_until"], postgresql_where=running)


def _make_webhooks() -> None:
    op.create_table(
        "webhooks",
        _id("run_id"),
        _id("owner_id"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        _moment("created_at"),
        sa.PrimaryKeyConstraint("run_id", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_owner_id", "webhooks", ["owner_id"])


def _make_crons() -> None:
    op.create_table(
        "crons",
        _id("cron_id"),
        _id("owner_id"),
        _id("assistant_id"),
        _id("thread_id", nullable=True),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text()),
        sa.Column("payload", JSONB(), nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
        sa.Column("on_run_completed", sa.String(20)),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        _moment("end_time", nullable=True),
        _moment("next_run_date", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.ForeignKeyConstraint(
            ["assistant_id"], ["assistants.assistant_id"], name="fk_crons_assistant_id_assistants", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["threads.thread_id"], name="fk_crons_thread_id_threads", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cron_id", name="pk_crons"),
    )
    op.create_index("ix_crons_owner_id_created_at", "crons", ["owner_id", "created_at"])
    op.create_index("ix_crons_next_run_date", "crons", ["next_run_date"], postgresql_where=sa.text("enabled"))


def _make_langgraph() -> None:
    # Imported here because earlier stages load this file too, and may not have LangGraph.
    from langgraph.checkpoint.postgres.base import MIGRATIONS as CHECKPOINTS  # noqa: PLC0415  needed by this revision only
    from langgraph.store.postgres.base import MIGRATIONS as STORE  # noqa: PLC0415  needed by this revision only

    for version, statement in enumerate(CHECKPOINTS[:_CHECKPOINTS]):
        if version not in _REDUNDANT:
            op.execute(statement)
    op.execute("CREATE TABLE store_migrations (v INTEGER PRIMARY KEY)")
    for statement in STORE[:_STORE]:
        op.execute(statement.replace("CONCURRENTLY", ""))  # not allowed in a transaction
    # LangGraph's own type is an integer: half a minute would become zero, and the item would expire at once.
    op.execute("ALTER TABLE store ALTER COLUMN ttl_minutes TYPE double precision")
    for table, versions in ("checkpoint_migrations", _CHECKPOINTS), ("store_migrations", _STORE):
        op.bulk_insert(sa.table(table, sa.column("v")), [{"v": version} for version in range(versions)])
    # As LangGraph creates it, with the default number of dimensions; the store changes it if EMBEDDING_DIMENSIONS
    # differs. It has no index: each user has few memories, which are compared one by one.
    op.execute("""
        CREATE TABLE store_vectors (
            prefix text NOT NULL,
            key text NOT NULL,
            field_name text NOT NULL,
            embedding halfvec(384),
            created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
            updated_at timestamptz DEFAULT CURRENT_TIMESTAMP,
            PRIMARY KEY (prefix, key, field_name),
            FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE
        )
    """)


def downgrade() -> None:
    """Drop the tables."""
    op.execute("DROP TRIGGER document_is_found ON documents")
    op.execute("DROP TRIGGER document_is_gone ON documents")
    op.execute("DROP FUNCTION change_document_version")
    for table in (
        "store_vectors",
        "store",
        "store_migrations",
        "checkpoint_writes",
        "checkpoint_blobs",
        "checkpoints",
        "checkpoint_migrations",
        "crons",
        "webhooks",
        "runs",
        "threads",
        "assistant_versions",
        "assistants",
        "idempotency_keys",
        "document_versions",
        "api_keys",
        "sign_ins",
        "accounts",
    ):
        op.drop_table(table)
