"""The page on which a user allows a client something, and its API.

The page sends its sign-in in a header, as the page at `/` does, so no other site can make a browser answer; and no site
can show it in a frame.
"""

from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from project4_agent_api.accounts.guards import CurrentPrincipal, require_sign_in
from project4_agent_api.accounts.oauth.authorization import (
    AuthorizationRefused,
    AuthorizationRequest,
    read_authorization_request,
)
from project4_agent_api.accounts.oauth.clients import is_document_url, is_loopback, receiver_of
from project4_agent_api.accounts.oauth.errors import InvalidClient, InvalidRedirectUri
from project4_agent_api.accounts.oauth.grants import OAuthGrants
from project4_agent_api.accounts.oauth.routes import OAuthGrantsDep, issuer_of
from project4_agent_api.accounts.oauth.schemas import ConsentAnswer, ConsentDecision, ConsentRead, ConsentRequest
from shared.database.engine import SessionDep
from shared.errors import Forbidden, NotFound, TooManyRequests
from shared.frontend import Panel, page_response
from shared.problems import error_responses

_PAGE = Path(__file__).parents[2] / "page"
_PANELS = (
    Panel(_PAGE / "consent-intro.js"),
    Panel(_PAGE / "account.js"),
    Panel(_PAGE / "consent.js", audience="users"),
)
_REFUSED = (Panel(_PAGE / "consent-refused.js"),)

page_router = APIRouter(tags=["oauth"])
router = APIRouter(
    prefix="/auth/consent",
    tags=["oauth"],
    dependencies=[Depends(require_sign_in)],
    responses=error_responses(InvalidRedirectUri, Forbidden),
)


@page_router.get("/authorize", response_class=Response, include_in_schema=False)
async def show_consent_page(request: Request, grants: OAuthGrantsDep) -> Response:
    """Show the page, or redirect to a program on the user's machine with the error.

    Anyone can register a client. So a redirect to another machine, without a question, would let anyone send users from
    here to any site (RFC 9700, section 4.11.2).
    """
    try:
        await _read(request.url.query, request, grants)
    except AuthorizationRefused as refused:
        if is_loopback(refused.redirect_to):
            return RedirectResponse(refused.redirect_to, status_code=302, headers={"Cache-Control": "no-store"})
        return page_response(request.app, _PANELS, status_code=400)
    except (NotFound, InvalidRedirectUri):
        if _document_url(request.url.query) is None:  # it is fetched after the user has signed in
            return page_response(request.app, _REFUSED, status_code=400)
    return page_response(request.app, _PANELS)


@router.post("/preview", responses=error_responses(NotFound))
async def preview_consent(body: ConsentRequest, request: Request, grants: OAuthGrantsDep) -> ConsentRead:
    """Show what a client asks the user for."""
    try:
        asked = await _read_current(body.query, request, grants)
    except AuthorizationRefused as refused:
        return ConsentRead(redirect_host=receiver_of(refused.redirect_to), redirect_to=refused.redirect_to)
    host = receiver_of(asked.redirect_uri)
    return ConsentRead(
        client_name=asked.client.name, client_host=asked.client_host, redirect_host=host, scopes=list(asked.scopes)
    )


@router.post("", responses=error_responses(NotFound, TooManyRequests))
async def decide(
    body: ConsentDecision,
    request: Request,
    principal: CurrentPrincipal,
    session: SessionDep,
    grants: OAuthGrantsDep,
) -> ConsentAnswer:
    """Grant a client the scopes of its request, or deny them."""
    try:
        asked = await _read_current(body.query, request, grants)
    except AuthorizationRefused as refused:
        return ConsentAnswer(redirect_to=refused.redirect_to)
    if not body.allow:
        return ConsentAnswer(redirect_to=asked.redirect(error="access_denied"))
    return ConsentAnswer(redirect_to=asked.redirect(code=await grants.create(session, principal, asked)))


async def _read_current(query: str, request: Request, grants: OAuthGrants) -> AuthorizationRequest:
    """Read a request for a signed-in user: the metadata of the client is fetched if it is a document elsewhere."""
    if document := _document_url(query):
        try:
            await grants.documents.update(document)
        except InvalidClient as error:
            raise NotFound(error.detail) from None
    return await _read(query, request, grants)


def _document_url(query: str) -> str | None:
    client_ids = parse_qs(query).get("client_id", [])
    return client_ids[0] if len(client_ids) == 1 and is_document_url(client_ids[0]) else None


async def _read(query: str, request: Request, grants: OAuthGrants) -> AuthorizationRequest:
    issuer, schemes = issuer_of(request), grants.redirect_schemes
    try:
        return await read_authorization_request(grants.sessions, query, issuer=issuer, schemes=schemes)
    except InvalidClient as error:
        raise NotFound(error.detail) from None  # a 401 would end the user's own sign-in
