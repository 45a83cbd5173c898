"""The page on which a user allows a client something, and its API.

The page sends its sign-in in a header, as the page at `/` does, so no other site can make a browser answer; and no site
can show it in a frame.
"""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from project4_agent_api.accounts.guards import CurrentPrincipal, require_sign_in
from project4_agent_api.accounts.oauth.authorization import (
    AuthorizationRefused,
    AuthorizationRequest,
    read_authorization_request,
)
from project4_agent_api.accounts.oauth.clients import is_loopback, receiver_of
from project4_agent_api.accounts.oauth.errors import InvalidClient, InvalidRedirectUri
from project4_agent_api.accounts.oauth.grants import OAuthGrants
from project4_agent_api.accounts.oauth.routes import issuer_of
from project4_agent_api.accounts.oauth.schemas import ConsentAnswer, ConsentDecision, ConsentRead, ConsentRequest
from project4_agent_api.core.state import from_state
from shared.database.engine import SessionDep, Sessions, SessionsDep
from shared.errors import Forbidden, NotFound, TooManyRequests
from shared.frontend import Panel, page_response
from shared.problems import error_responses

_PAGE = Path(__file__).parents[2] / "page"
_PANELS = (Panel(_PAGE / "account.js"), Panel(_PAGE / "consent.js", audience="users"))

page_router = APIRouter(tags=["oauth"])
router = APIRouter(
    prefix="/auth/consent",
    tags=["oauth"],
    dependencies=[Depends(require_sign_in)],
    responses=error_responses(InvalidRedirectUri, Forbidden),
)

OAuthGrantsDep = Annotated[OAuthGrants, Depends(from_state(OAuthGrants))]


@page_router.get("/authorize", response_class=Response, include_in_schema=False)
async def show_consent_page(request: Request, sessions: SessionsDep, grants: OAuthGrantsDep) -> Response:
    """Show the page, or redirect to a program on the user's machine with the error.

    Anyone can register a client. So a redirect to another machine, without a question, would let anyone send users from
    here to any site (RFC 9700, section 4.11.2).
    """
    try:
        await read_authorization_request(
            sessions, request.url.query, issuer=issuer_of(request), schemes=grants.redirect_schemes
        )
    except AuthorizationRefused as refused:
        if is_loopback(refused.redirect_to):
            return RedirectResponse(refused.redirect_to, status_code=302, headers={"Cache-Control": "no-store"})
        return page_response(request.app, _PANELS, status_code=400)
    except (InvalidClient, InvalidRedirectUri):
        return page_response(request.app, _PANELS, status_code=400)
    return page_response(request.app, _PANELS)


@router.post("/preview", responses=error_responses(NotFound))
async def preview_consent(
    body: ConsentRequest, request: Request, sessions: SessionsDep, grants: OAuthGrantsDep
) -> ConsentRead:
    """Show what a client asks the user for."""
    try:
        asked = await _read(body.query, request, sessions, grants)
    except AuthorizationRefused as refused:
        return ConsentRead(redirect_host=receiver_of(refused.redirect_to), redirect_to=refused.redirect_to)
    host = receiver_of(asked.redirect_uri)
    return ConsentRead(client_name=asked.client.name, redirect_host=host, scopes=list(asked.scopes))


@router.post("", responses=error_responses(NotFound, TooManyRequests))
async def decide(
    body: ConsentDecision,
    request: Request,
    principal: CurrentPrincipal,
    sessions: SessionsDep,
    session: SessionDep,
    grants: OAuthGrantsDep,
) -> ConsentAnswer:
    """Grant a client the scopes of its request, or deny them."""
    try:
        asked = await _read(body.query, request, sessions, grants)
    except AuthorizationRefused as refused:
        return ConsentAnswer(redirect_to=refused.redirect_to)
    if not body.allow:
        return ConsentAnswer(redirect_to=asked.redirect(error="access_denied"))
    return ConsentAnswer(redirect_to=asked.redirect(code=await grants.create(session, principal.sign_in_id, asked)))


async def _read(query: str, request: Request, sessions: Sessions, grants: OAuthGrants) -> AuthorizationRequest:
    try:
        return await read_authorization_request(
            sessions, query, issuer=issuer_of(request), schemes=grants.redirect_schemes
        )
    except InvalidClient as error:
        raise NotFound(error.detail) from None  # a 401 would end the user's own sign-in
