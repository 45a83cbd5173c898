"""What is stored in stage 2: users, and the messages of each."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, String, Text, func, literal_column
from sqlmodel import Field, Relationship, SQLModel
from uuid_utils.compat import uuid7

NO_LAZY_LOAD: dict[str, Any] = {"lazy": "raise"}  # a load that nobody wrote down would block the event loop


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class User(SQLModel, table=True):
    """Somebody. The id is a UUIDv7, made here: it sorts by the time at which it was made."""

    __tablename__: ClassVar[str] = "users"
    __table_args__: ClassVar = (
        # One account for an e-mail, whatever its case. The operator class makes both indexes find a prefix too.
        Index(
            "uq_users_email",
            func.lower(literal_column("email")).label("lower_email"),
            unique=True,
            postgresql_ops={"lower_email": "text_pattern_ops"},
        ),
        Index(
            "ix_users_name",
            func.lower(literal_column("name")).label("lower_name"),
            postgresql_ops={"lower_name": "text_pattern_ops"},
        ),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str = Field(sa_type=String(254))
    name: str = Field(sa_type=String(100))
    password_hash: str = Field(sa_type=Text, repr=False)
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))

    messages: list["Message"] = Relationship(
        back_populates="user", passive_deletes="all", sa_relationship_kwargs=NO_LAZY_LOAD
    )


class Role(StrEnum):
    """Who said it."""

    USER = "user"
    ASSISTANT = "assistant"


class Message(SQLModel, table=True):
    """Something that a user said, or that the model answered. Ids sort by the order of the conversation."""

    __tablename__: ClassVar[str] = "messages"
    __table_args__: ClassVar = (
        CheckConstraint("role IN ('user', 'assistant')", name="role"),
        Index("ix_messages_user_id_id", "user_id", "id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID = Field(sa_column_args=[ForeignKey("users.id", ondelete="CASCADE")])
    role: Role = Field(sa_type=String(20))
    content: str = Field(sa_type=Text)
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))

    user: User = Relationship(back_populates="messages", sa_relationship_kwargs=NO_LAZY_LOAD)
