"""Requests and responses of stage 2."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from project1_qa_api.schemas import Question
from project2_user_mgmt.models import Role
from project2_user_mgmt.passwords import normalize
from shared.schemas import NOT_BLANK, NOT_BLANK_PATTERN, WITHOUT_NUL, RequestBody, Secret

MAX_SENT_PASSWORD = 1000  # characters before normalization: a decomposed form has up to four times as many
_MIN_PASSWORD, _MAX_PASSWORD = 8, 200


def normalize_email(text: str) -> str:
    """Return an e-mail address in the form that is stored: in NFC, with its domain in lower case.

    Raises:
        ValueError: if it is no e-mail address.
    """
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None


def _check_length(password: SecretStr) -> SecretStr:
    if not _MIN_PASSWORD <= len(normalize(password)) <= _MAX_PASSWORD:
        raise ValueError(f"must have {_MIN_PASSWORD} to {_MAX_PASSWORD} characters after normalization")
    return password


Email = Annotated[
    str,
    StringConstraints(max_length=254),
    AfterValidator(normalize_email),
    Field(examples=["ada@example.com"], json_schema_extra={"format": "email"}),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    NOT_BLANK,
    WITHOUT_NUL,
    Field(examples=["Ada Lovelace"], json_schema_extra={"pattern": NOT_BLANK_PATTERN}),
]
# Argon2 hashes passwords of any length without truncation; the limit prevents requests to hash megabytes.
Password = Annotated[
    Secret,
    Field(
        max_length=MAX_SENT_PASSWORD,
        description=f"{_MIN_PASSWORD} to {_MAX_PASSWORD} characters, counted after normalization (NFKC).",
        examples=["correct horse battery staple"],
    ),
    AfterValidator(_check_length),
]


class UserCreate(RequestBody):
    """A new user."""

    email: Email
    name: Name
    password: Password


class UserUpdate(RequestBody):
    """Fields to change; omitted fields stay unchanged."""

    email: Email | None = None
    name: Name | None = None
    password: Password | None = None


class UserRead(BaseModel):
    """A user, without the password."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    name: str
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Increases with each change; also sent as `ETag`.")


class UserPage(BaseModel):
    """A page of users, in the order of their creation."""

    items: list[UserRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class MessageCreate(RequestBody):
    """A message to the model."""

    content: Question


class MessageRead(BaseModel):
    """A message of a conversation."""

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
    """A page of messages, newest first."""

    items: list[MessageRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")
