"""Clients that register themselves (RFC 7591), and the addresses to which they are redirected."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Annotated
from urllib.parse import SplitResult, urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel, Field
from sqlalchemy import delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt.models import now
from project4_agent_api.accounts.oauth.errors import InvalidClientMetadata, InvalidRedirectUri
from project4_agent_api.models import OAuthClient, OAuthGrant
from shared.errors import TooManyRequests

MAX_CLIENTS = 10_000
UNUSED_DAYS, USED_DAYS = 1, 90
_MAX_URI_LENGTH = 500
_MAX_NAME_LENGTH = 100
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_VISIBLE = re.compile(r"[!-\[\]-~]+")  # of ASCII, without the backslash, which browsers read as a slash
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # fillers of Hangul and of Braille
_RETRY_SECONDS = 3600


class ClientRegistration(BaseModel):
    """The metadata of a client that is used. Other metadata is ignored, as RFC 7591 wants."""

    redirect_uris: Annotated[list[str], Field(min_length=1, max_length=10)]
    client_name: str = ""
    grant_types: list[str] = ["authorization_code"]
    response_types: list[str] = ["code"]


async def register(session: AsyncSession, asked: ClientRegistration, schemes: Collection[str]) -> OAuthClient:
    """Store a client. If there are too many, the oldest one that nobody uses gives way.

    Args:
        schemes: The private schemes that are permitted.

    Raises:
        InvalidRedirectUri: if it may not be redirected to one of its addresses.
        InvalidClientMetadata: if it needs another flow than authorization codes, or its name cannot be shown.
        TooManyRequests: if there are too many clients, all of them in use.
    """
    name = check_registration(asked, schemes)
    await make_room(session)
    client = OAuthClient(name=name, redirect_uris=asked.redirect_uris, expires_at=now() + timedelta(days=UNUSED_DAYS))
    session.add(client)
    await session.flush()
    return client


def check_registration(asked: ClientRegistration, schemes: Collection[str]) -> str:
    """Check the metadata of a client, and return its name.

    Raises:
        InvalidRedirectUri: if it may not be redirected to one of its addresses.
        InvalidClientMetadata: if it needs another flow than authorization codes, or its name cannot be shown.
    """
    for uri in asked.redirect_uris:
        parse_redirect_uri(uri, schemes)
    if "authorization_code" not in asked.grant_types or "code" not in asked.response_types:
        raise InvalidClientMetadata("Only the grant type authorization_code with the response type code is offered.")
    name = asked.client_name.strip() or (urlsplit(asked.redirect_uris[0]).hostname or "")
    if len(name) > _MAX_NAME_LENGTH or not all(map(_is_visible, name)):
        raise InvalidClientMetadata(f"client_name has at most {_MAX_NAME_LENGTH} characters, all of them visible.")
    return name


def _is_visible(character: str) -> bool:
    """Return whether a character is a space or visible, and leaves the text around it as it is."""
    kind = unicodedata.category(character)
    return not kind.startswith("C") and kind not in ("Zl", "Zp") and character not in _BLANK_LETTERS


def is_document_url(client_id: str) -> bool:
    """Return whether a client's id is the URL of a document with its metadata: HTTPS, with a path."""
    try:
        parts = urlsplit(client_id)
        _ = parts.port
    except ValueError:
        return False
    is_clean = not parts.fragment and "@" not in parts.netloc and not {".", ".."} & {*parts.path.split("/")}
    return parts.scheme == "https" and bool(parts.hostname) and parts.path not in ("", "/") and is_clean


def document_id(url: str) -> UUID:
    """Return the id under which the document of a client is stored."""
    return uuid5(NAMESPACE_URL, url)


async def find_client(session: AsyncSession, client_id: str) -> OAuthClient | None:
    """Return a stored client; None if there is none with this id, or it has expired."""
    try:
        parsed = document_id(client_id) if is_document_url(client_id) else UUID(client_id)
    except ValueError:
        return None
    query = select(OAuthClient).where(col(OAuthClient.id) == parsed, col(OAuthClient.expires_at) > func.now())
    return (await session.scalars(query)).one_or_none()


async def make_room(session: AsyncSession) -> None:
    """Delete the oldest clients that nobody uses, if there are too many.

    Raises:
        TooManyRequests: if all of them are in use.
    """
    count = await session.scalar(select(func.count()).select_from(OAuthClient)) or 0
    if count < MAX_CLIENTS:
        return
    is_used = exists().where(col(OAuthGrant.client_id) == col(OAuthClient.id))
    oldest = select(col(OAuthClient.id)).where(~is_used).order_by(col(OAuthClient.id)).limit(count - MAX_CLIENTS + 1)
    removed = await session.execute(
        delete(OAuthClient).where(col(OAuthClient.id).in_(oldest)).returning(col(OAuthClient.id))
    )
    if not removed.all():
        raise TooManyRequests("Too many clients are registered. Try again later.", retry_after=_RETRY_SECONDS)


def parse_redirect_uri(uri: str, schemes: Collection[str]) -> SplitResult:
    """Parse an address to which a client may be redirected: HTTPS, or a program on the user's machine (RFC 8252).

    Args:
        schemes: The private schemes that are permitted.

    Raises:
        InvalidRedirectUri: if it is another one.
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRedirectUri("A redirect URI is not an address.") from None
    if len(uri) > _MAX_URI_LENGTH or not _VISIBLE.fullmatch(uri) or "#" in uri or "@" in parts.netloc or not host:
        raise InvalidRedirectUri(
            f"A redirect URI has at most {_MAX_URI_LENGTH} visible ASCII characters, no fragment and no user."
        )
    if parts.scheme not in ("https", *schemes) and not (parts.scheme == "http" and host in _LOOPBACK):
        raise InvalidRedirectUri(
            "A redirect URI is https://…, or http:// with 127.0.0.1, [::1] or localhost, or has a permitted private "
            f"scheme: {', '.join(schemes) or 'none'}."
        )
    return parts


def is_registered(uri: str, registered: Sequence[str], schemes: Collection[str]) -> bool:
    """Return whether an address is exactly one that was registered. On loopback, its port is free."""
    try:
        parts = parse_redirect_uri(uri, schemes)
    except InvalidRedirectUri:
        return False
    return uri in registered or (
        parts.scheme == "http" and any(_without_port(parts) == _without_port(urlsplit(uri)) for uri in registered)
    )


def receiver_of(redirect_uri: str) -> str:
    """Return who receives an answer, for users: a host, or the scheme of a program such as `cursor:`."""
    parts = urlsplit(redirect_uri)
    return (parts.hostname or "") if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def is_loopback(redirect_uri: str) -> bool:
    """Return whether a program on the user's own machine receives an answer by HTTP."""
    return receiver_of(redirect_uri) in _LOOPBACK


def _without_port(parts: SplitResult) -> SplitResult:
    return parts._replace(netloc=parts.hostname or "")
