"""What goes over the wire in stage 2."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from project1_qa_api.schemas import Question
from project2_user_mgmt.models import Role
from shared.schemas import NOT_BLANK, NOT_BLANK_PATTERN, WITHOUT_NUL, RequestBody, Secret


def _email(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None


Email = Annotated[
    str,
    StringConstraints(max_length=254),
    AfterValidator(_email),
    Field(examples=["ada@example.com"], json_schema_extra={"format": "email"}),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    NOT_BLANK,
    WITHOUT_NUL,
    Field(examples=["Ada Lovelace"], json_schema_extra={"pattern": NOT_BLANK_PATTERN}),
]
# Argon2 hashes any length; the limit keeps anyone from making it hash megabytes. Nothing is cut off.
Password = Annotated[Secret, Field(min_length=8, max_length=200, examples=["correct horse battery staple"])]


class UserCreate(RequestBody):
    """A new user."""

    email: Email
    name: Name
    password: Password


class UserUpdate(RequestBody):
    """What is to change; what is not given stays."""

    email: Email | None = None
    name: Name | None = None
    password: Password | None = None


class UserRead(BaseModel):
    """A user, as shown."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    name: str
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Grows with each change; it is the `ETag` too.")


class UserPage(BaseModel):
    """Some users, in the order in which they were made."""

    items: list[UserRead]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class MessageCreate(RequestBody):
    """What a user says."""

    content: Question


class MessageRead(BaseModel):
    """A message, as shown."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    role: Role
    content: str
    created_at: datetime


class Exchange(BaseModel):
    """A question and its answer."""

    question: MessageRead
    answer: MessageRead


class MessagePage(BaseModel):
    """Some messages, newest first."""

    items: list[MessageRead]
    next_cursor: str | None = Field(description="For the next page; null on the last.")
