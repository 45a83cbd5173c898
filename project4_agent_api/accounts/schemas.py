"""Request and response bodies of the accounts API."""

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
from project2_user_mgmt.schemas import MAX_SENT_PASSWORD, Email, Name, Password, UserCreate
from project4_agent_api.models import AccountRole
from shared.schemas import INTEGRAL, STORABLE_MOMENT, RequestBody, Secret

# A password to verify, so the rules for new passwords do not apply.
GivenPassword = Annotated[
    Secret, Field(min_length=1, max_length=MAX_SENT_PASSWORD, examples=["correct horse battery staple"])
]
GivenToken = Annotated[SecretStr, Field(min_length=1, max_length=2000)]


def _in_future(moment: datetime) -> datetime:
    if moment <= now():
        raise ValueError("must be in the future")
    return moment


def _string(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a string such as 2099-01-01T00:00:00Z")  # noqa: TRY004  Pydantic handles no TypeError
    return value


class AccountCreate(UserCreate):
    """A new account. Only the server sets its role."""

    invitation: Annotated[SecretStr, Field(max_length=500)] | None = Field(
        default=None, description="An administrator's invitation of this e-mail, if the service requires one."
    )


class InvitationCreate(RequestBody):
    """Whom to invite."""

    email: Email
    days: Annotated[int, Field(ge=1, le=365), INTEGRAL] = Field(default=7, description="How long it is valid.")


class InvitationRead(BaseModel):
    """An invitation."""

    email: str
    invitation: str = Field(repr=False, description="Sent as `invitation` of `POST /auth/register`.")


class AccountUpdate(RequestBody):
    """Changes to an account. Fields that are not given stay as they are."""

    email: Email | None = None
    name: Name | None = None
    password: Password | None = None
    old_password: GivenPassword | None = Field(default=None, description="Required for a new password.")

    @model_validator(mode="after")
    def _new_password_requires_old(self) -> Self:
        if (self.password is None) != (self.old_password is None):
            raise ValueError("password and old_password must be given together")
        return self


class AccountRead(BaseModel):
    """An account, as shown to its owner."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    name: str
    role: AccountRole
    created_at: datetime
    updated_at: datetime


class SignInForm(RequestBody):
    """The form of OAuth2's password flow. Scopes and registered clients are not used, so their fields are empty."""

    grant_type: Literal["password"] = "password"
    username: Email = Field(description="The e-mail, compared without case.")
    password: GivenPassword
    scope: Literal[""] = ""
    client_id: Literal[""] = ""
    client_secret: Literal[""] = ""


class RefreshRequest(RequestBody):
    """A refresh token."""

    refresh_token: GivenToken


class TokenPair(BaseModel):
    """The tokens of a sign-in."""

    access_token: str = Field(repr=False, description="Sent as `Authorization: Bearer …`.")
    refresh_token: str = Field(repr=False, description="Valid for one `POST /auth/refresh`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  a kind of token, not a secret
    expires_in: int = Field(description="Seconds until the access token expires.", examples=[900])


# JSON has no dates. Only strings are accepted, because the unit of a number would be a guess.
_FutureDatetime = Annotated[
    AwareDatetime, Field(strict=False), STORABLE_MOMENT, AfterValidator(_in_future), BeforeValidator(_string)
]


class ApiKeyCreate(RequestBody):
    """A new API key."""

    name: Name = Field(description="A name for the owner to recognize the key by.", examples=["nightly job"])
    expires_at: _FutureDatetime | None = Field(
        default=None,
        description="When the key expires; null for never.",
        examples=["2099-01-01T00:00:00Z"],
    )


class ApiKeyRead(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    beginning: str = Field(description="The first characters of the key.", examples=["key_Yx3k"])
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Accurate to a minute.")


class ApiKeyCreated(ApiKeyRead):
    """A new API key with its secret, which is shown only once."""

    key: str = Field(repr=False, description="Sent as `X-Api-Key`.")


class ApiKeyPage(BaseModel):
    """A page of API keys, newest first."""

    items: list[ApiKeyRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")
