"""Requests and responses of OAuth, and of the API behind its page."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from project4_agent_api.accounts.oauth.clients import ClientRegistration, receiver_of
from shared.schemas import RequestBody

_Secret = Annotated[str, Field(max_length=2000, repr=False)]


class ServerMetadata(BaseModel):
    """The metadata of the authorization server (RFC 8414)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str
    revocation_endpoint: str
    scopes_supported: list[str]
    response_types_supported: list[str] = ["code"]
    response_modes_supported: list[str] = ["query"]
    grant_types_supported: list[str] = ["authorization_code", "refresh_token"]
    token_endpoint_auth_methods_supported: list[str] = ["none"]
    revocation_endpoint_auth_methods_supported: list[str] = ["none"]
    code_challenge_methods_supported: list[str] = ["S256"]
    authorization_response_iss_parameter_supported: bool = True
    client_id_metadata_document_supported: bool = True
    ui_locales_supported: list[str] = ["en", "zh"]


class ClientRead(ClientRegistration):
    """A registered client, always without a secret: PKCE takes its place."""

    client_id: UUID
    client_id_issued_at: int
    grant_types: list[str] = Field(default=["authorization_code", "refresh_token"])
    token_endpoint_auth_method: Literal["none"] = "none"  # noqa: S105  a method


class TokenRequest(BaseModel):
    """The form of the token endpoint. Unknown fields are ignored, as RFC 6749 wants."""

    grant_type: str = ""
    client_id: str = ""
    code: _Secret = ""
    code_verifier: _Secret = ""
    redirect_uri: Annotated[str, Field(max_length=500)] | None = None
    refresh_token: _Secret = ""
    scope: Annotated[str, Field(max_length=500)] | None = None
    resource: Annotated[str, Field(max_length=500)] | None = None


class RevocationRequest(BaseModel):
    """The form of the revocation endpoint (RFC 7009)."""

    token: _Secret
    client_id: str = ""


class TokenResponse(BaseModel):
    """The tokens of a client."""

    access_token: str = Field(repr=False, description="Sent as `Authorization: Bearer …` to `/mcp` only.")
    refresh_token: str = Field(repr=False, description="Valid once.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a kind of token, not a secret
    expires_in: int
    scope: str


class ConsentRequest(RequestBody):
    """A client's request."""

    query: Annotated[str, Field(max_length=10_000)] = Field(description="The query of `/authorize`.")


class ConsentDecision(ConsentRequest):
    """A user's decision."""

    allow: bool


class ConsentRead(BaseModel):
    """A client's request, as the user sees it.

    A request that is wrong only has `redirect_host`, and `redirect_to`, where the client learns of it.
    """

    client_name: str | None = Field(default=None, description="As the client calls itself: nobody has checked it.")
    client_host: str | None = Field(
        default=None, description="The host that publishes the client's metadata, if its id is their address."
    )
    redirect_host: str | None = Field(
        default=None, description="The receiver of the answer: a host, or the scheme of a program."
    )
    scopes: list[str] = []
    redirect_to: str | None = None


class ConsentAnswer(BaseModel):
    """Where to send the browser."""

    redirect_to: str = Field(repr=False)


class GrantRead(BaseModel):
    """A program that a user allowed something."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    client_name: str = Field(description="As the program calls itself.")
    redirect_host: str = Field(validation_alias="redirect_uri")
    scopes: list[str] = Field(validation_alias="scope")
    created_at: datetime
    last_used_at: datetime | None = Field(description="When it last got a token.")
    expires_at: datetime

    @field_validator("redirect_host", mode="before")
    @classmethod
    def _host(cls, value: Any) -> Any:  # noqa: ANN401  a column
        return receiver_of(value)

    @field_validator("scopes", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401  a column
        return value.split()


class GrantPage(BaseModel):
    """A page of grants, newest first."""

    items: list[GrantRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")
