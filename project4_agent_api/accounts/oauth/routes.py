"""OAuth for programs: metadata, registration, tokens, revocation. Errors have OAuth's form."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.requests import HTTPConnection

from project4_agent_api.accounts.oauth.authorization import SCOPES, check_resource
from project4_agent_api.accounts.oauth.clients import ClientRegistration, find_client, register
from project4_agent_api.accounts.oauth.errors import NO_STORE, InvalidClient, UnsupportedGrantType
from project4_agent_api.accounts.oauth.grants import OAuthGrants
from project4_agent_api.accounts.oauth.schemas import (
    ClientRead,
    RevocationRequest,
    ServerMetadata,
    TokenRequest,
    TokenResponse,
)
from project4_agent_api.accounts.routes import throttle_address
from project4_agent_api.core.state import find, from_state
from shared.database.engine import SessionDep, read_session

PREFIX = "/oauth"
MAX_BODY_BYTES = 16 * 1024
BODY_LIMITS = {f"{PREFIX}/{name}": MAX_BODY_BYTES for name in ("register", "token", "revoke")}

router = APIRouter(prefix=PREFIX, tags=["oauth"])
metadata_router = APIRouter(prefix="/.well-known", tags=["oauth"])

OAuthGrantsDep = Annotated[OAuthGrants, Depends(from_state(OAuthGrants))]


def issuer_of(connection: HTTPConnection) -> str:
    """Return the address of the authorization server, which is the service's, without a slash at its end."""
    public_url = find(connection.scope["app"], OAuthGrants).public_url
    return (public_url or str(connection.base_url)).rstrip("/")


@metadata_router.get("/oauth-authorization-server/{root_path:path}", include_in_schema=False)  # noqa: FAST003  it is not used
@metadata_router.get("/openid-configuration", include_in_schema=False)
@metadata_router.get("/oauth-authorization-server")
async def show_server_metadata(request: Request) -> ServerMetadata:
    """Show where programs register and get tokens.

    Below a root path, clients look for it at three addresses, of which a proxy may pass only one to this service.
    """
    issuer = issuer_of(request)
    return ServerMetadata(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/authorize",
        token_endpoint=f"{issuer}{PREFIX}/token",
        registration_endpoint=f"{issuer}{PREFIX}/register",
        revocation_endpoint=f"{issuer}{PREFIX}/revoke",
        scopes_supported=list(SCOPES),
    )


@router.post("/register", status_code=201, dependencies=[Depends(throttle_address)])
async def register_client(
    body: ClientRegistration, session: SessionDep, grants: OAuthGrantsDep, response: Response
) -> ClientRead:
    """Register a program (RFC 7591). It expires if nobody uses it."""
    client = await register(session, body, grants.redirect_schemes)
    response.headers.update(NO_STORE)
    return ClientRead(
        client_id=client.id,
        client_id_issued_at=int(client.created_at.timestamp()),
        client_name=client.name,
        redirect_uris=client.redirect_uris,
    )


@router.post("/token")
async def issue_tokens(
    form: Annotated[TokenRequest, Form()], request: Request, grants: OAuthGrantsDep, response: Response
) -> TokenResponse:
    """Exchange an authorization code or a refresh token for tokens. Each is valid once."""
    client_id = await _client_id(grants, form.client_id)
    check_resource(form.resource, issuer_of(request))
    response.headers.update(NO_STORE)
    match form.grant_type:
        case "authorization_code":
            return await grants.exchange(client_id, form.code, form.code_verifier, form.redirect_uri)
        case "refresh_token":
            return await grants.refresh(client_id, form.refresh_token, form.scope)
        case _:
            raise UnsupportedGrantType(UnsupportedGrantType.example_detail)


@router.post("/revoke", response_class=Response)
async def revoke_token(form: Annotated[RevocationRequest, Form()], grants: OAuthGrantsDep) -> Response:
    """End what the user allowed, by a token of either kind (RFC 7009)."""
    await grants.revoke(await _client_id(grants, form.client_id), form.token)
    return Response(headers=NO_STORE)


async def _client_id(grants: OAuthGrants, client_id: str) -> UUID:
    async with read_session(grants.sessions) as session:
        client = await find_client(session, client_id)
    if client is None:
        raise InvalidClient(InvalidClient.example_detail)
    return client.id
