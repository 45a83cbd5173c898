"""What is stored in stage 4: accounts with their sign-ins and keys, assistants, threads with their runs, schedules.

    users (stage 2) ─┬─ accounts       what a user may do
                     ├─ sign_ins       a device that is signed in: a family of refresh tokens
                     └─ api_keys
    assistants ── assistant_versions   a graph with its settings
    threads ── runs                    a conversation, and each execution of a graph on it
    webhooks                           whom to tell that a run is over
    crons                              runs to come, again and again
    idempotency_keys                   what a request with such a key was answered
    document_versions                  which of an owner's documents (stage 3) can be found: for `caches.py`

LangGraph's own tables stand beside these: `checkpoints`, `checkpoint_blobs` and `checkpoint_writes` (the state of a
thread after each step), `store` and `store_vectors` (what is remembered across threads).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, DateTime, Double, ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now

Json = dict[str, Any]


def _moment(**options: Any) -> Any:  # noqa: ANN401  SQLModel's own
    return Field(sa_type=DateTime(timezone=True), **options)


def _json(name: str | None = None, **options: Any) -> Any:  # noqa: ANN401  SQLModel's own
    return Field(default_factory=dict, sa_column=Column(name, JSONB, nullable=False), **options)


def _of_user() -> list[Any]:
    return [ForeignKey("users.id", ondelete="CASCADE")]


class AccountRole(StrEnum):
    """What somebody may do. Only the server sets it."""

    USER = "user"
    ADMIN = "admin"


class Account(SQLModel, table=True):
    """What stage 4 knows of a user of stage 2. A user without a row has the defaults."""

    __tablename__: ClassVar[str] = "accounts"
    __table_args__: ClassVar = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    user_id: UUID = Field(sa_column_args=_of_user(), primary_key=True)
    role: AccountRole = Field(default=AccountRole.USER, sa_type=String(20))
    active: bool = True
    token_version: int = 0  # a token of an earlier version is good for nothing


class SignIn(SQLModel, table=True):
    """A family of refresh tokens: each is used once, for the next. One that is used twice ends the family.

    It is good as long as it has not ended, the account's token version is the one it began with, and so is the
    password: whoever changes either, by whatever way, ends it, also if it begins at the same moment.
    """

    __tablename__: ClassVar[str] = "sign_ins"
    __table_args__: ClassVar = (
        Index("uq_sign_ins_family_hash", "family_hash", unique=True),
        Index("ix_sign_ins_user_id", "user_id"),
        Index("ix_sign_ins_expires_at", "expires_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(sa_column_args=_of_user())
    family_hash: str = Field(sa_type=String(64), repr=False)  # SHA-256 of what its refresh tokens have in common
    refresh_hash: str = Field(sa_type=String(64), repr=False)  # and of the rest of the one that is good now
    token_version: int
    password_digest: str = Field(sa_type=String(64), repr=False)  # SHA-256 of the password's hash
    created_at: datetime = _moment(default_factory=now)
    expires_at: datetime = _moment()
    ended_at: datetime | None = _moment(default=None)


class ApiKey(SQLModel, table=True):
    """A key for programs. It is shown once; only its hash is stored."""

    __tablename__: ClassVar[str] = "api_keys"
    __table_args__: ClassVar = (
        Index("uq_api_keys_key_hash", "key_hash", unique=True),
        Index("ix_api_keys_user_id_id", "user_id", "id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(sa_column_args=_of_user())
    name: str = Field(sa_type=String(100))
    beginning: str = Field(sa_type=String(20))  # by which its owner tells it from others
    key_hash: str = Field(sa_type=String(64), repr=False)  # SHA-256: a key is random, so a slow hash protects nothing
    created_at: datetime = _moment(default_factory=now)
    expires_at: datetime | None = _moment(default=None)
    last_used_at: datetime | None = _moment(default=None)


class Assistant(SQLModel, table=True):
    """A graph with its settings. One without an owner came with the service, and is everyone's to use."""

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
    created_at: datetime = _moment(default_factory=now)
    updated_at: datetime = _moment(default_factory=now)


class AssistantVersion(SQLModel, table=True):
    """An assistant as it was."""

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
    created_at: datetime = _moment(default_factory=now)


class ThreadStatus(StrEnum):
    """What a thread is doing: after its last run, or because one is under way."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class Thread(SQLModel, table=True):
    """A conversation. `values` and `interrupts` are copies from its newest checkpoint, to be listed and searched."""

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
    expires_at: datetime | None = _moment(default=None)
    created_at: datetime = _moment(default_factory=now)
    updated_at: datetime = _moment(default_factory=now)
    state_updated_at: datetime = _moment(default_factory=now)


class DocumentVersion(SQLModel, table=True):
    """Changes with all that can be found of an owner's documents: a trigger sees to it, whoever changes them."""

    __tablename__: ClassVar[str] = "document_versions"

    owner_id: UUID = Field(primary_key=True)
    version: UUID


class IdempotencyKey(SQLModel, table=True):
    """A request that is served once, and what it was answered. See `idempotency.py`."""

    __tablename__: ClassVar[str] = "idempotency_keys"

    id: str = Field(primary_key=True, sa_type=String(64))  # a hash of the owner, the operation and the key
    owner_id: UUID = Field(index=True)
    fingerprint: str | None = Field(default=None, sa_type=String(64))  # of the body
    claim: UUID
    lease_until: datetime = _moment()
    made_id: UUID  # the id of the run that it makes, if it makes one
    made: bool = False
    status: int | None = Field(default=None, sa_type=SmallInteger)
    headers: Json | None = Field(default=None, sa_column=Column("headers", JSONB))
    body: bytes | None = None  # none of a stream
    created_at: datetime = _moment(default_factory=now, index=True)


class RunStatus(StrEnum):
    """How far a run is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


class Run(SQLModel, table=True):
    """One execution of a graph on a thread.

    A worker that takes it writes `claim`, and says until when it may be trusted (`lease_until`). Whatever it writes
    later, it writes only where the claim is still its own.
    """

    __tablename__: ClassVar[str] = "runs"
    __table_args__: ClassVar = (
        CheckConstraint(
            "status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')", name="status"
        ),
        # The order in which a thread's runs are executed and listed.
        Index("ix_runs_thread_id_due_at", "thread_id", "due_at", "run_id"),
        # One run of a thread at a time, whatever two workers believe.
        Index("uq_runs_running", "thread_id", unique=True, postgresql_where=text("status = 'running'")),
        Index("ix_runs_pending", "due_at", postgresql_where=text("status = 'pending'")),
        Index("ix_runs_lease", "lease_until", postgresql_where=text("status = 'running'")),
        # Which runs of a thread have events that are kept. Only what is over is in it: once for each run.
        Index(
            "ix_runs_over",
            "thread_id",
            "updated_at",
            postgresql_where=text("status NOT IN ('pending', 'running')"),
        ),
        # Whose turn it is, and how much of what each user has waits or is executed.
        Index("ix_runs_waiting", "owner_id", "due_at", "run_id", postgresql_where=text("status = 'pending'")),
        Index("ix_runs_executed", "owner_id", postgresql_where=text("status = 'running'")),
    )

    run_id: UUID = Field(default_factory=uuid7, primary_key=True)
    thread_id: UUID = Field(sa_column_args=[ForeignKey("threads.thread_id", ondelete="CASCADE")])
    assistant_id: UUID
    owner_id: UUID
    status: RunStatus = Field(default=RunStatus.PENDING, sa_type=String(20))
    meta: Json = _json("metadata")
    arguments: Json = _json("kwargs")  # how the graph is to be called
    multitask_strategy: str = Field(sa_type=String(20))
    request_id: str | None = Field(default=None, sa_type=Text)
    traceparent: str | None = Field(default=None, sa_type=Text)  # of the request that made it, as traces know it
    attempt: int = Field(default=0, sa_type=SmallInteger)  # how often it was claimed: its events are numbered so
    failures: int = Field(default=0, sa_type=SmallInteger)  # how often its worker died
    claim: UUID | None = None
    lease_until: datetime | None = _moment(default=None)
    cancel: str | None = Field(default=None, sa_type=String(20))  # `interrupt` or `rollback`, when it was asked for
    error: Json | None = Field(default=None, sa_column=Column("error", JSONB))
    due_at: datetime = _moment(default_factory=now)
    started_at: datetime | None = _moment(default=None)  # for the first time
    created_at: datetime = _moment(default_factory=now)
    updated_at: datetime = _moment(default_factory=now)


class Webhook(SQLModel, table=True):
    """What is still to be told of a run that is over, to whom: a job does it, and deletes the row.

    It holds all of it, because the run and its thread may be gone by then.
    """

    __tablename__: ClassVar[str] = "webhooks"
    __table_args__: ClassVar = (Index("ix_webhooks_owner_id", "owner_id"),)

    run_id: UUID = Field(primary_key=True)
    owner_id: UUID  # whose run it was
    url: str = Field(sa_type=Text)
    body: Json = _json()
    created_at: datetime = _moment(default_factory=now)


class Cron(SQLModel, table=True):
    """A run that is made again and again."""

    __tablename__: ClassVar[str] = "crons"
    __table_args__: ClassVar = (
        Index("ix_crons_owner_id_created_at", "owner_id", "created_at"),
        Index("ix_crons_next_run_date", "next_run_date", postgresql_where=text("enabled")),
        # For what goes with its thread or assistant: else each that is deleted reads the schedules of everybody.
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
    end_time: datetime | None = _moment(default=None)
    next_run_date: datetime | None = _moment(default=None)  # none where it has no further one
    created_at: datetime = _moment(default_factory=now)
    updated_at: datetime = _moment(default_factory=now)
