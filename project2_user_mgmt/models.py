"""Tables of stage 2: users and their messages."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, String, Text, func, literal_column
from sqlmodel import Field, Relationship, SQLModel
from uuid_utils.compat import uuid7

NO_LAZY_LOAD: dict[str, Any] = {"lazy": "raise"}  # an implicit load would block the event loop


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class User(SQLModel, table=True):
    """A user. Ids are UUIDv7, created in the application, and sort by the time of creation."""

    __tablename__: ClassVar[str] = "users"
    __table_args__: ClassVar = (
        # E-mail addresses are unique, ignoring case. The operator class lets both indexes serve prefix searches.
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
    """The author of a message."""

    USER = "user"
    ASSISTANT = "assistant"


class Message(SQLModel, table=True):
    """A message of a user, or an answer of the model. Ids sort in the order of the conversation."""

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
