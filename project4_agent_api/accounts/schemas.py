"""What goes over the wire in stage 4."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from project2_user_mgmt.models import now
from project2_user_mgmt.schemas import Email, Name, Password, UserCreate
from project4_agent_api.models import AccountRole
from shared.schemas import RequestBody, Secret

# --- accounts -------------------------------------------------------------------------------------------------------

# What is compared and not chosen: any length will do.
GivenPassword = Annotated[Secret, Field(min_length=1, max_length=200, examples=["correct horse battery staple"])]
GivenToken = Annotated[SecretStr, Field(min_length=1, max_length=2000)]


def _to_come(moment: datetime) -> datetime:
    if moment <= now():
        raise ValueError("must be to come")
    return moment


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a text such as 2099-01-01T00:00:00Z")  # noqa: TRY004  which Pydantic lets through
    return value


class AccountCreate(UserCreate):
    """A new account. What it may do is not for the client to say."""


class AccountUpdate(RequestBody):
    """What is to change; what is not given stays."""

    email: Email | None = None
    name: Name | None = None
    password: Password | None = None
    old_password: GivenPassword | None = Field(default=None, description="Needed for a new password.")

    @model_validator(mode="after")
    def _a_new_password_needs_the_old_one(self) -> Self:
        if (self.password is None) != (self.old_password is None):
            raise ValueError("password and old_password go together")
        return self


class AccountRead(BaseModel):
    """An account, as its owner sees it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    name: str
    role: AccountRole
    created_at: datetime
    updated_at: datetime


class SignInForm(RequestBody):
    """The form of OAuth2's password flow. There are no scopes and no registered clients, so those stay empty."""

    grant_type: Literal["password"] = "password"
    username: Email = Field(description="The e-mail, in any case.")
    password: GivenPassword
    scope: Literal[""] = ""
    client_id: Literal[""] = ""
    client_secret: Literal[""] = ""


class RefreshRequest(RequestBody):
    """A refresh token."""

    refresh_token: GivenToken


class TokenPair(BaseModel):
    """What a sign-in gives."""

    access_token: str = Field(repr=False, description="Sent as `Authorization: Bearer …`.")
    refresh_token: str = Field(repr=False, description="Good for one `POST /auth/refresh`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the kind of token, not one
    expires_in: int = Field(description="Seconds that the access token is good for.", examples=[900])


# JSON has no dates: a text is all that can be sent, and a number would be a guess.
_ToCome = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_to_come), BeforeValidator(_text)]


class ApiKeyCreate(RequestBody):
    """A new key."""

    name: Name = Field(description="By which its owner tells it from others.", examples=["nightly job"])
    expires_at: _ToCome | None = Field(
        default=None,
        description="After which it is good for nothing; null for never.",
        examples=["2099-01-01T00:00:00Z"],
    )


class ApiKeyRead(BaseModel):
    """A key, as it is shown ever after."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    beginning: str = Field(description="The first characters of the key.", examples=["key_Yx3k"])
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class ApiKeyCreated(ApiKeyRead):
    """A key, the one time that it is shown itself."""

    key: str = Field(repr=False, description="Sent as `X-Api-Key`.")


class ApiKeyPage(BaseModel):
    """Some keys, newest first."""

    items: list[ApiKeyRead]
    next_cursor: str | None = Field(description="For the next page; null on the last.")
