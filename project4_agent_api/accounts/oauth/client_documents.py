"""Clients whose id is the URL of a document with their metadata: they need no registration.

See draft-ietf-oauth-client-id-metadata-document. A document is stored as a client whose id is derived from the URL. It
is fetched for signed-in users only, so that strangers cannot make this service send requests.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from project2_user_mgmt.models import now
from project4_agent_api.accounts.oauth.clients import (
    UNUSED_DAYS,
    ClientRegistration,
    check_registration,
    document_id,
    make_room,
)
from project4_agent_api.accounts.oauth.errors import InvalidClient, InvalidClientMetadata, InvalidRedirectUri
from project4_agent_api.models import OAuthClient
from shared.database.engine import Sessions, read_session, transaction
from shared.outbound.fetching import FetchError, PublicWeb

_MAX_BYTES = 8 * 1024  # the draft recommends 5
_TIMEOUT_SECONDS = 5
_FRESH_MINUTES = 5


class ClientDocument(ClientRegistration):
    """The metadata in a document. A client that has a secret cannot publish it there."""

    client_id: str
    token_endpoint_auth_method: Literal["none"] = "none"  # noqa: S105  a method


@dataclass(frozen=True)
class ClientDocuments:
    """Fetches documents of clients, and stores them.

    Attributes:
        schemes: The private schemes to which clients may be redirected.
    """

    sessions: Sessions
    schemes: tuple[str, ...] = ()
    web: PublicWeb = field(default_factory=lambda: PublicWeb(_TIMEOUT_SECONDS))

    async def update(self, url: str) -> None:
        """Store the document at a URL as a client, unless it was fetched some minutes ago.

        Raises:
            InvalidClient: if there is no valid document.
            TooManyRequests: if too many clients are stored, all of them in use.
        """
        client_id = document_id(url)
        async with read_session(self.sessions) as session:
            stored = await session.get(OAuthClient, client_id)
        if stored and stored.created_at > now() - timedelta(minutes=_FRESH_MINUTES):
            return
        document = await self._fetch(url)
        try:
            name = check_registration(document, self.schemes)
        except (InvalidRedirectUri, InvalidClientMetadata) as error:
            raise _invalid(url, error.detail) from None
        values = {"name": name, "redirect_uris": document.redirect_uris, "created_at": now()}
        expires_at = now() + timedelta(days=UNUSED_DAYS)
        insert_or_update = (
            insert(OAuthClient)
            .values(id=client_id, expires_at=expires_at, **values)
            .on_conflict_do_update(
                index_elements=["id"],
                set_=values | {"expires_at": func.greatest(col(OAuthClient.expires_at), expires_at)},
            )
        )
        async with transaction(self.sessions) as session:
            if stored is None:
                await make_room(session)
            await session.execute(insert_or_update)

    async def _fetch(self, url: str) -> ClientDocument:
        content = b""
        try:
            async with self.web.get(url, accept="application/json") as fetched:
                if str(fetched.url) != url:
                    raise _invalid(url, "it redirects")
                async for data in fetched.content:
                    content += data
                    if len(content) > _MAX_BYTES:
                        raise _invalid(url, f"it has more than {_MAX_BYTES:,} bytes")
            document = ClientDocument.model_validate_json(content)
        except FetchError as error:
            raise _invalid(url, str(error)) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise _invalid(url, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if document.client_id != url:
            raise _invalid(url, "its client_id is another one")
        return document


def _invalid(url: str, reason: str) -> InvalidClient:
    return InvalidClient(f"The program's document at {url[:200]} cannot be used: {reason}")
