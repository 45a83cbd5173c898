"""Read a client's request for authorization: the query of `/authorize`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, Field, ValidationError

from project4_agent_api.accounts.oauth.clients import find_client, is_document_url, is_registered
from project4_agent_api.accounts.oauth.errors import InvalidClient, InvalidRedirectUri, InvalidScope, InvalidTarget
from project4_agent_api.models import OAuthClient
from shared.database.engine import Sessions, read_session

ASSISTANTS, DOCUMENTS = "assistants", "documents"
SCOPES = (ASSISTANTS, DOCUMENTS)
_MAX_FIELDS = 20


class _Query(BaseModel):
    response_type: str
    # Without a method it would be `plain`, which does not protect the code.
    code_challenge: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$")]
    code_challenge_method: Literal["S256"]
    scope: Annotated[str, Field(max_length=500)] | None = None
    resource: Annotated[str, Field(max_length=500)] | None = None


class AuthorizationRefused(Exception):
    """The client learns of the error by a redirect.

    Attributes:
        redirect_to: The client's address, with the error.
    """

    def __init__(self, redirect_to: str) -> None:
        super().__init__("the authorization was refused")
        self.redirect_to = redirect_to


@dataclass(frozen=True)
class AuthorizationRequest:
    """A client's request, which is valid.

    Attributes:
        issuer: This server, as its metadata names it.
        client_host: The host of the document with the client's metadata; None if the client has registered itself.
    """

    client: OAuthClient
    redirect_uri: str
    state: str | None
    issuer: str
    scopes: tuple[str, ...] = ()
    code_challenge: str = ""
    client_host: str | None = None

    def redirect(self, **parameters: str) -> str:
        """Return the client's address with an answer, which names this server (RFC 9207)."""
        answer = parameters | ({"state": self.state} if self.state is not None else {}) | {"iss": self.issuer}
        return f"{self.redirect_uri}{'&' if '?' in self.redirect_uri else '?'}{urlencode(answer)}"


async def read_authorization_request(
    sessions: Sessions, query: str, *, issuer: str, schemes: Collection[str]
) -> AuthorizationRequest:
    """Read the query of an authorization request.

    Args:
        schemes: The private schemes to which clients may be redirected.

    Raises:
        InvalidClient, InvalidRedirectUri: if it is not safe to redirect to the client.
        AuthorizationRefused: if something else is wrong.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        pairs = []
    fields = dict(pairs)
    names = [name for name, _ in pairs]
    async with read_session(sessions) as session:
        client = await find_client(session, fields.get("client_id", ""))
    if client is None or names.count("client_id") > 1:
        raise InvalidClient("There is no client with this id. Start again from the program that sent you here.")
    uri = fields.get("redirect_uri", "")
    if not is_registered(uri, client.redirect_uris, schemes) or names.count("redirect_uri") > 1:
        raise InvalidRedirectUri("The client has not registered this redirect_uri.")
    request = AuthorizationRequest(client, uri, fields.get("state"), issuer)
    if len(names) != len(set(names)):
        raise _refused(request, "invalid_request", "A parameter is given twice.")
    try:
        asked = _Query.model_validate(fields)
        scopes = requested_scopes(asked.scope)
        check_resource(asked.resource, issuer)
    except ValidationError as error:
        detail = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise _refused(request, "invalid_request", detail) from None
    except (InvalidScope, InvalidTarget) as error:
        raise _refused(request, error.type.rpartition(":")[2], error.detail) from None
    if asked.response_type != "code":
        raise _refused(request, "unsupported_response_type", "response_type must be code.")
    client_host = urlsplit(fields["client_id"]).hostname if is_document_url(fields["client_id"]) else None
    return replace(request, scopes=scopes, code_challenge=asked.code_challenge, client_host=client_host)


def requested_scopes(scope: str | None, allowed: Sequence[str] = SCOPES) -> tuple[str, ...]:
    """Return the scopes that a client asks for: those that exist, and all of them if it names none.

    Raises:
        InvalidScope: if none of them is allowed.
    """
    asked = scope.split() if scope else allowed
    known = tuple(scope for scope in allowed if scope in asked)
    if not known:
        raise InvalidScope(f"The scopes are: {', '.join(allowed)}.")
    return known


def check_resource(resource: str | None, issuer: str) -> None:
    """Check that a client asks for tokens for `/mcp` (RFC 8707). Older clients do not say it.

    Raises:
        InvalidTarget: if it asks for others.
    """
    expected = f"{issuer}/mcp"
    if resource is not None and resource.removesuffix("/") != expected:
        raise InvalidTarget(f"Tokens are for {expected} only.")


def _refused(request: AuthorizationRequest, code: str, description: str) -> AuthorizationRefused:
    return AuthorizationRefused(request.redirect(error=code, error_description=description))
