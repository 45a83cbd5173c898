"""The tables of stage 4.

    users (stage 2) ─┬─ accounts       role, and whether the user may sign in
                     ├─ sign_ins       a signed-in device: a family of refresh tokens
                     ├─ api_keys
                     ├─ oauth_grants   what a user allowed an OAuth client
                     └─ webhook_secrets
    oauth_clients ── oauth_grants      programs that registered themselves, such as desktop clients of MCP
    assistants ── assistant_versions   a graph with its configuration
    threads ─┬─ runs ── run_feedback   a conversation, each execution of a graph on it, and its ratings
             └─ tool_approvals         what a person has approved, each for one execution
    webhooks                           calls that are due because a run has ended
    crons                              schedules of runs
    idempotency_keys                   responses to requests with an `Idempotency-Key`
    document_versions                  version of an owner's searchable documents (stage 3), for `core/caches.py`
    stored_bytes                       what each user stores, and `stored_bytes_changes`: see `core/storage.py`
    model_usage                        tokens of each user's model calls, by day: see `core/model_usage.py`

LangGraph has its own tables in the same database: `checkpoints`, `checkpoint_blobs` and `checkpoint_writes` (the state
of a thread after each step), `store` and `store_vectors` (memories across threads).
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now

Json = dict[str, Any]


def _timestamp(**options: Any) -> Any:  # noqa: ANN401  SQLModel's own
    return Field(sa_type=DateTime(timezone=True), **options)


def _json(name: str | None = None, **options: Any) -> Any:  # noqa: ANN401  SQLModel's own
    return Field(default_factory=dict, sa_column=Column(name, JSONB, nullable=False), **options)


def _stored_bytes() -> Any:  # noqa: ANN401  SQLModel's own
    return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})


def _user_foreign_key() -> list[Any]:
    return [ForeignKey("users.id", ondelete="CASCADE")]


class AccountRole(StrEnum):
    """Role of an account. Only the server sets it."""

    USER = "user"
    ADMIN = "admin"


class Account(SQLModel, table=True):
    """Stage 4's fields of a user of stage 2. A user without a row has the defaults."""

    __tablename__: ClassVar[str] = "accounts"
    __table_args__: ClassVar = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    user_id: UUID = Field(sa_column_args=_user_foreign_key(), primary_key=True)
    role: AccountRole = Field(default=AccountRole.USER, sa_type=String(20))
    active: bool = True
    token_version: int = 0  # tokens of an earlier version are not valid


class SignIn(SQLModel, table=True):
    """A family of refresh tokens. Each token is exchanged once for the next; using one twice ends the family.

    A sign-in is valid until it is ended, and while the account has the token version and the password with which the
    sign-in was created. Any change of either ends it, even one that is concurrent with its creation.
    """

    __tablename__: ClassVar[str] = "sign_ins"
    __table_args__: ClassVar = (
        Index("uq_sign_ins_family_hash", "family_hash", unique=True),
        Index("ix_sign_ins_user_id_network_hash", "user_id", "network_hash"),
        Index("ix_sign_ins_expires_at", "expires_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(sa_column_args=_user_foreign_key())
    family_hash: str = Field(sa_type=String(64), repr=False)  # SHA-256 of the secret that its refresh tokens share
    refresh_hash: str = Field(sa_type=String(64), repr=False)  # SHA-256 of the current token's own secret
    token_version: int
    password_digest: str = Field(sa_type=String(64), repr=False)  # SHA-256 of the password's hash
    network_hash: str | None = Field(default=None, sa_type=String(64), repr=False)  # keyed hash of the client's network
    created_at: datetime = _timestamp(default_factory=now)
    expires_at: datetime = _timestamp()
    ended_at: datetime | None = _timestamp(default=None)


class ApiKey(SQLModel, table=True):
    """A key for programs. It is shown once, and only its hash is stored."""

    __tablename__: ClassVar[str] = "api_keys"
    __table_args__: ClassVar = (
        Index("uq_api_keys_key_hash", "key_hash", unique=True),
        Index("ix_api_keys_user_id_id", "user_id", "id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(sa_column_args=_user_foreign_key())
    name: str = Field(sa_type=String(100))
    beginning: str = Field(sa_type=String(20))  # shown to its owner in lists
    key_hash: str = Field(sa_type=String(64), repr=False)  # SHA-256: a key is random, so a slow hash protects nothing
    created_at: datetime = _timestamp(default_factory=now)
    expires_at: datetime | None = _timestamp(default=None)
    last_used_at: datetime | None = _timestamp(default=None)


class OAuthClient(SQLModel, table=True):
    """A program that registered itself (RFC 7591). It has no secret: anyone could read it on a user's machine."""

    __tablename__: ClassVar[str] = "oauth_clients"
    __table_args__: ClassVar = (Index("ix_oauth_clients_expires_at", "expires_at"),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    name: str = Field(sa_type=String(100))
    redirect_uris: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = _timestamp(default_factory=now)
    expires_at: datetime = _timestamp()  # moves on while the client is used


class OAuthGrant(SQLModel, table=True):
    """A client's access for a user: first an authorization code, then a family of refresh tokens.

    It is valid as a `SignIn` is.
    """

    __tablename__: ClassVar[str] = "oauth_grants"
    __table_args__: ClassVar = (
        Index("uq_oauth_grants_code_hash", "code_hash", unique=True),
        Index("uq_oauth_grants_family_hash", "family_hash", unique=True),
        Index("ix_oauth_grants_user_id_id", "user_id", "id"),
        Index("ix_oauth_grants_client_id", "client_id"),
        Index("ix_oauth_grants_expires_at", "expires_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(sa_column_args=_user_foreign_key())
    client_id: UUID = Field(sa_column_args=[ForeignKey("oauth_clients.id", ondelete="CASCADE")])
    scope: str = Field(sa_type=Text)
    code_hash: str = Field(sa_type=String(64), repr=False)  # SHA-256 of the authorization code
    code_challenge: str = Field(sa_type=String(43), repr=False)  # of PKCE, by its method S256
    redirect_uri: str = Field(sa_type=Text)
    family_hash: str | None = Field(default=None, sa_type=String(64), repr=False)  # None until the code is exchanged
    refresh_hash: str | None = Field(default=None, sa_type=String(64), repr=False)
    token_version: int
    password_digest: str = Field(sa_type=String(64), repr=False)
    created_at: datetime = _timestamp(default_factory=now)
    last_used_at: datetime | None = _timestamp(default=None)
    expires_at: datetime = _timestamp()
    ended_at: datetime | None = _timestamp(default=None)


# Rows are only inserted, added up and deleted, so it has no primary key and no class.
stored_bytes_changes = Table(
    "stored_bytes_changes",
    SQLModel.metadata,
    Column("owner_id", Uuid, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)


class StoredBytes(SQLModel, table=True):
    """The bytes that a user stores, by kind of data."""

    __tablename__: ClassVar[str] = "stored_bytes"

    owner_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True, sa_type=Text)
    bytes: int = Field(sa_type=BigInteger)


class DailyModelUsage(SQLModel, table=True):
    """The tokens that a user's calls of a model took on a day (UTC)."""

    __tablename__: ClassVar[str] = "model_usage"

    owner_id: UUID = Field(primary_key=True)
    day: date = Field(primary_key=True)
    model: str = Field(primary_key=True, sa_type=Text)
    calls: int = Field(sa_type=BigInteger)
    input: int = Field(sa_type=BigInteger)
    cached_input: int = Field(sa_type=BigInteger)
    output: int = Field(sa_type=BigInteger)
    total: int = Field(sa_type=BigInteger)


class Assistant(SQLModel, table=True):
    """A graph with its configuration. Assistants without an owner are built in, and available to everyone."""

    __tablename__: ClassVar[str] = "assistants"
    __table_args__: ClassVar = (Index("ix_assistants_owner_id_created_at", "owner_id", "created_at"),)

    assistant_id: UUID = Field(default_factory=uuid7, primary_key=True)
    owner_id: UUID | None = None
    graph_id: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    config: Json = _json()
    context: Json = _json()
    meta: Json = _json("metadata")
    version: int = 1
    stored_bytes: int = _stored_bytes()  # of all versions; a trigger changes it
    created_at: datetime = _timestamp(default_factory=now)
    updated_at: datetime = _timestamp(default_factory=now)


class AssistantVersion(SQLModel, table=True):
    """A former or the current version of an assistant."""

    __tablename__: ClassVar[str] = "assistant_versions"

    assistant_id: UUID = Field(
        sa_column_args=[ForeignKey("assistants.assistant_id", ondelete="CASCADE")], primary_key=True
    )
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    graph_id: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    config: Json = _json()
    context: Json = _json()
    meta: Json = _json("metadata")
    created_at: datetime = _timestamp(default_factory=now)


class ThreadStatus(StrEnum):
    """State of a thread: the outcome of its last run, or busy."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class Thread(SQLModel, table=True):
    """A conversation. `values` and `interrupts` are copied from its newest checkpoint, for lists and searches."""

    __tablename__: ClassVar[str] = "threads"
    __table_args__: ClassVar = (
        CheckConstraint("status IN ('idle', 'busy', 'interrupted', 'error')", name="status"),
        Index("ix_threads_owner_id_created_at", "owner_id", "created_at"),
        Index("ix_threads_metadata", "metadata", postgresql_using="gin", postgresql_ops={"metadata": "jsonb_path_ops"}),
        Index("ix_threads_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    thread_id: UUID = Field(default_factory=uuid7, primary_key=True)
    owner_id: UUID
    status: ThreadStatus = Field(default=ThreadStatus.IDLE, sa_type=String(20))
    meta: Json = _json("metadata")
    config: Json = _json()
    values: Json | None = Field(default=None, sa_column=Column("values", JSONB))
    interrupts: Json = _json()
    error: Json | None = Field(default=None, sa_column=Column("error", JSONB))
    ttl_strategy: str | None = Field(default=None, sa_type=String(20))
    ttl_minutes: float | None = Field(default=None, sa_type=Double)
    expires_at: datetime | None = _timestamp(default=None)
    stored_bytes: int = _stored_bytes()  # with its runs and checkpoints
    created_at: datetime = _timestamp(default_factory=now)
    updated_at: datetime = _timestamp(default_factory=now)
    state_updated_at: datetime = _timestamp(default_factory=now)


class ToolApproval(SQLModel, table=True):
    """A person's approval of one tool call, which permits one execution. See `agents/grants.py`."""

    __tablename__: ClassVar[str] = "tool_approvals"
    __table_args__: ClassVar = (Index("ix_tool_approvals_thread_id", "thread_id"),)

    id: UUID = Field(primary_key=True)
    thread_id: UUID = Field(sa_column_args=[ForeignKey("threads.thread_id", ondelete="CASCADE")])
    action_hash: str = Field(sa_type=String(64))  # SHA-256 of the tool's name and arguments
    created_at: datetime = _timestamp(default_factory=now)
    used_at: datetime | None = _timestamp(default=None)


class CollectionShare(SQLModel, table=True):
    """A collection of documents that another user may read, or also change."""

    __tablename__: ClassVar[str] = "collection_shares"
    __table_args__: ClassVar = (Index("ix_collection_shares_user_id", "user_id"),)

    collection_id: UUID = Field(sa_column_args=[ForeignKey("collections.id", ondelete="CASCADE")], primary_key=True)
    user_id: UUID = Field(sa_column_args=_user_foreign_key(), primary_key=True)
    owner_id: UUID  # of the collection
    writable: bool
    email: str | None = Field(default=None, sa_type=String(254))  # the address that was invited
    created_at: datetime = _timestamp(default_factory=now)


class CollectionInvitation(SQLModel, table=True):
    """An e-mail address that is invited to a collection."""

    __tablename__: ClassVar[str] = "collection_invitations"
    __table_args__: ClassVar = (
        Index("uq_collection_invitations_email", "collection_id", text("lower(email)"), unique=True),
        Index("ix_collection_invitations_user_id", "user_id"),
    )

    id: UUID = Field(primary_key=True)
    collection_id: UUID = Field(sa_column_args=[ForeignKey("collections.id", ondelete="CASCADE")])
    owner_id: UUID  # of the collection
    email: str = Field(sa_type=String(254))
    user_id: UUID | None = Field(
        default=None, sa_column_args=[ForeignKey("users.id", ondelete="SET NULL")]
    )  # None if there was no account with the address, or the user refused
    writable: bool
    created_at: datetime = _timestamp(default_factory=now)


class DocumentVersion(SQLModel, table=True):
    """Version of an owner's searchable documents. A trigger changes it with the documents."""

    __tablename__: ClassVar[str] = "document_versions"

    owner_id: UUID = Field(primary_key=True)
    version: UUID


class IdempotencyKey(SQLModel, table=True):
    """A request that is executed once, and its response. See `core/idempotency.py`."""

    __tablename__: ClassVar[str] = "idempotency_keys"

    id: str = Field(primary_key=True, sa_type=String(64))  # a hash of the owner, the operation and the key
    owner_id: UUID = Field(index=True)
    fingerprint: str | None = Field(default=None, sa_type=String(64))  # of the body
    claim: UUID
    lease_until: datetime = _timestamp()
    made_id: UUID  # id for the run that the request creates, if it creates one
    made: bool = False
    status: int | None = Field(default=None, sa_type=SmallInteger)
    headers: Json | None = Field(default=None, sa_column=Column("headers", JSONB))
    body: bytes | None = None  # the events of a stream are not stored
    created_at: datetime = _timestamp(default_factory=now, index=True)


class RunStatus(StrEnum):
    """State of a run."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


class Run(SQLModel, table=True):
    """One execution of a graph on a thread.

    A worker claims a run by writing `claim` and the end of its lease (`lease_until`). Its later writes apply only while
    the claim is still its own.
    """

    __tablename__: ClassVar[str] = "runs"
    __table_args__: ClassVar = (
        CheckConstraint(
            "status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')", name="status"
        ),
        # Order in which the runs of a thread are executed and listed.
        Index("ix_runs_thread_id_due_at", "thread_id", "due_at", "run_id"),
        # At most one running run per thread, even if two workers claim at once.
        Index("uq_runs_running", "thread_id", unique=True, postgresql_where=text("status = 'running'")),
        Index("ix_runs_pending", "due_at", postgresql_where=text("status = 'pending'")),
        Index("ix_runs_lease", "lease_until", postgresql_where=text("status = 'running'")),
        # Ended runs of a thread whose events are still stored. A run is inserted once, when it ends.
        Index(
            "ix_runs_over",
            "thread_id",
            "updated_at",
            postgresql_where=text("status NOT IN ('pending', 'running')"),
        ),
        Index("ix_runs_owner_id_created_at", "owner_id", "created_at", "run_id"),
        # Fair order of claims: waiting and running runs of each user.
        Index("ix_runs_waiting", "owner_id", "due_at", "run_id", postgresql_where=text("status = 'pending'")),
        Index("ix_runs_executed", "owner_id", postgresql_where=text("status = 'running'")),
    )

    run_id: UUID = Field(default_factory=uuid7, primary_key=True)
    thread_id: UUID = Field(sa_column_args=[ForeignKey("threads.thread_id", ondelete="CASCADE")])
    assistant_id: UUID
    owner_id: UUID
    status: RunStatus = Field(default=RunStatus.PENDING, sa_type=String(20))
    meta: Json = _json("metadata")
    arguments: Json = _json("kwargs")  # arguments of the graph's call
    multitask_strategy: str = Field(sa_type=String(20))
    request_id: str | None = Field(default=None, sa_type=Text)
    traceparent: str | None = Field(default=None, sa_type=Text)  # trace context of the request that created it
    attempt: int = Field(default=0, sa_type=SmallInteger)  # number of claims; part of the ids of its events
    failures: int = Field(default=0, sa_type=SmallInteger)  # number of claims whose worker died
    claim: UUID | None = None
    lease_until: datetime | None = _timestamp(default=None)
    cancel: str | None = Field(default=None, sa_type=String(20))  # `interrupt` or `rollback`, if cancelled
    error: Json | None = Field(default=None, sa_column=Column("error", JSONB))
    usage: Any = Field(default=None, sa_column=Column("usage", JSONB))  # model calls of each attempt that ended
    due_at: datetime = _timestamp(default_factory=now)
    started_at: datetime | None = _timestamp(default=None)  # of the first claim
    created_at: datetime = _timestamp(default_factory=now)
    updated_at: datetime = _timestamp(default_factory=now)


class Webhook(SQLModel, table=True):
    """A webhook call that is due because a run has ended. A job makes the call and deletes the row.

    The row contains the whole body, because the run and its thread may be deleted before the call.
    """

    __tablename__: ClassVar[str] = "webhooks"
    __table_args__: ClassVar = (Index("ix_webhooks_owner_id", "owner_id"),)

    run_id: UUID = Field(primary_key=True)
    owner_id: UUID  # owner of the run
    url: str = Field(sa_type=Text)
    body: Json = _json()
    created_at: datetime = _timestamp(default_factory=now)


class WebhookSecret(SQLModel, table=True):
    """The salt of a user's secret for signatures, and that of the previous one."""

    __tablename__: ClassVar[str] = "webhook_secrets"

    user_id: UUID = Field(primary_key=True)  # also without an account
    salt: str = Field(sa_type=String(32), repr=False)
    created_at: datetime = _timestamp(default_factory=now)
    previous_salt: str | None = Field(default=None, sa_type=String(32), repr=False)
    previous_valid_until: datetime | None = _timestamp(default=None)


class Cron(SQLModel, table=True):
    """A schedule that creates runs."""

    __tablename__: ClassVar[str] = "crons"
    __table_args__: ClassVar = (
        Index("ix_crons_owner_id_created_at", "owner_id", "created_at"),
        Index("ix_crons_next_run_date", "next_run_date", postgresql_where=text("enabled")),
        # For the foreign keys: without them, deleting a thread or an assistant reads the schedules of all users.
        Index("ix_crons_thread_id", "thread_id", postgresql_where=text("thread_id IS NOT NULL")),
        Index("ix_crons_assistant_id", "assistant_id"),
    )

    cron_id: UUID = Field(default_factory=uuid7, primary_key=True)
    owner_id: UUID
    assistant_id: UUID = Field(sa_column_args=[ForeignKey("assistants.assistant_id", ondelete="CASCADE")])
    thread_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("threads.thread_id", ondelete="CASCADE")])
    schedule: str = Field(sa_type=Text)
    timezone: str | None = Field(default=None, sa_type=Text)
    payload: Json = _json()
    meta: Json = _json("metadata")
    on_run_completed: str | None = Field(default=None, sa_type=String(20))
    enabled: bool = True
    end_time: datetime | None = _timestamp(default=None)
    next_run_date: datetime | None = _timestamp(default=None)  # None after the last one
    created_at: datetime = _timestamp(default_factory=now)
    updated_at: datetime = _timestamp(default_factory=now)


class RunFeedback(SQLModel, table=True):
    """Feedback on a run; see `runs/feedback.py`."""

    __tablename__: ClassVar[str] = "run_feedback"
    __table_args__: ClassVar = (
        Index("ix_run_feedback_run_id", "run_id"),
        Index("ix_run_feedback_owner_id_created_at", "owner_id", "created_at"),
    )

    id: UUID = Field(primary_key=True)
    run_id: UUID = Field(sa_column_args=[ForeignKey("runs.run_id", ondelete="CASCADE")])
    thread_id: UUID
    owner_id: UUID
    key: str = Field(sa_type=String(200))
    score: float | None = Field(default=None, sa_type=Double)
    value: Json | None = Field(default=None, sa_column=Column("value", JSONB))
    comment: str | None = Field(default=None, sa_type=Text)
    correction: Json | None = Field(default=None, sa_column=Column("correction", JSONB))
    extra: Json | None = Field(default=None, sa_column=Column("extra", JSONB))
    created_at: datetime = _timestamp()
    modified_at: datetime = _timestamp()
