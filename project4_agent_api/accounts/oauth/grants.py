"""Grants: the access of clients for users. A grant begins as an authorization code, and becomes a family of tokens.

Refresh tokens rotate as those of a sign-in do: one that is used twice ends its grant, and so does a code.
"""

import base64
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now
from project4_agent_api.accounts.api_keys import key_hash
from project4_agent_api.accounts.oauth.authorization import AuthorizationRequest, requested_scopes
from project4_agent_api.accounts.oauth.client_documents import ClientDocuments
from project4_agent_api.accounts.oauth.clients import USED_DAYS
from project4_agent_api.accounts.oauth.errors import InvalidGrant
from project4_agent_api.accounts.oauth.schemas import TokenResponse
from project4_agent_api.accounts.principals import Principal
from project4_agent_api.accounts.sign_ins import SIGN_IN_IS_VALID
from project4_agent_api.accounts.tokens import AccessTokens, RefreshToken
from shared.database.engine import Sessions, transaction
from shared.errors import Limit, NotFound, TooManyRequests, Unauthorized

CODE_SECONDS = 60
_RETRY_SECONDS = 60
_INVALID_CODE = "The code is not valid. Sign in again."
_INVALID_REFRESH_TOKEN = "The refresh token is not valid. Sign in again."  # noqa: S105  a text


@dataclass(frozen=True)
class OAuthGrants:
    """Creates, exchanges, refreshes and ends grants.

    Attributes:
        tokens: Issues the access tokens for `/mcp`.
        lifetime_days: Days after which an unused grant expires.
        max_of_user: Maximum grants of one user.
        documents: The documents of clients that do not register themselves.
        invalidate: Invalidates the cached principals of an account whose grant has ended.
        public_url: Address of the service, if it is not that of the request.
        redirect_schemes: The private schemes to which clients may be redirected.
    """

    sessions: Sessions
    tokens: AccessTokens
    lifetime_days: int
    max_of_user: int
    documents: ClientDocuments
    invalidate: Callable[[UUID], Awaitable[None]]
    public_url: str | None = None
    redirect_schemes: Sequence[str] = ()

    async def create(self, session: AsyncSession, principal: Principal, request: AuthorizationRequest) -> str:
        """Store a grant of a signed-in user, and return its code.

        Raises:
            TooManyRequests: if the user has too many grants.
            Unauthorized: if the sign-in has ended.
        """
        await session.execute(_DELETE_INVALID, {"user_id": principal.account_id})
        count = await session.scalar(_COUNT, {"user_id": principal.account_id}) or 0
        if count >= self.max_of_user:
            raise TooManyRequests(
                f"You have allowed {self.max_of_user:,} programs already. Remove one first.",
                retry_after=_RETRY_SECONDS,
                limit=Limit("user_api_keys_max", self.max_of_user, count),
            )
        code = secrets.token_urlsafe(32)
        stored = await session.scalar(
            _INSERT,
            {
                "id": uuid7(),
                "sign_in_id": principal.sign_in_id,
                "client_id": request.client.id,
                "scope": " ".join(request.scopes),
                "code_hash": key_hash(code),
                "code_challenge": request.code_challenge,
                "redirect_uri": request.redirect_uri,
                "expires_at": now() + timedelta(seconds=CODE_SECONDS),
            },
        )
        if stored is None:
            raise Unauthorized("The sign-in has ended. Sign in again.")
        return code

    async def exchange(self, client_id: UUID, code: str, verifier: str, redirect_uri: str | None) -> TokenResponse:
        """Exchange an authorization code for tokens.

        Raises:
            InvalidGrant: if the code is not this client's, has expired or was used, or the verifier of PKCE is wrong.
        """
        first = RefreshToken.first()
        async with transaction(self.sessions) as session:
            grant = (await session.execute(_LOCK_CODE, {"code_hash": key_hash(code)})).mappings().one_or_none()
            was_used = grant is not None and grant["family_hash"] is not None
            if grant and was_used:  # one of the two callers may have stolen it
                await session.execute(_END, {"id": grant["id"]})
            elif grant and _is_of(grant, client_id, verifier, redirect_uri):
                parameters = {
                    "id": grant["id"],
                    "family_hash": first.family_hash,
                    "refresh_hash": first.own_hash,
                    "expires_at": now() + timedelta(days=self.lifetime_days),
                }
                await session.execute(_START, parameters)
                await self._keep_client(session, client_id)
                return self._tokens(grant, first, grant["scope"])
        if grant and was_used:
            await self.invalidate(grant["user_id"])
        raise InvalidGrant(_INVALID_CODE)

    async def refresh(self, client_id: UUID, refresh_token: str, scope: str | None) -> TokenResponse:
        """Rotate a refresh token. A token that was used before ends its grant.

        Raises:
            InvalidGrant: if it is not the current token of a valid grant of this client.
            InvalidScope: if more is asked for than was allowed.
        """
        try:
            presented = RefreshToken.parse(refresh_token)
        except Unauthorized:
            raise InvalidGrant(_INVALID_REFRESH_TOKEN) from None
        following = presented.next()
        async with transaction(self.sessions) as session:
            parameters = {
                "family_hash": presented.family_hash,
                "client_id": client_id,
                "presented": presented.own_hash,
                "following": following.own_hash,
                "expires_at": now() + timedelta(days=self.lifetime_days),
            }
            grant = (await session.execute(_ROTATE, parameters)).mappings().one_or_none()
            if grant and not grant["ended_at"]:
                await self._keep_client(session, client_id)
                scopes = requested_scopes(scope, grant["scope"].split())
                return self._tokens(grant, following, " ".join(scopes))
        if grant:
            await self.invalidate(grant["user_id"])
        raise InvalidGrant(_INVALID_REFRESH_TOKEN)

    async def revoke(self, client_id: UUID, token: str) -> None:
        """End the grant of a token of either kind, if it is this client's. Another token is ignored (RFC 7009)."""
        family_hash = grant_id = None
        try:
            family_hash = RefreshToken.parse(token).family_hash
        except Unauthorized:
            try:
                grant_id = self.tokens.read(token).sign_in_id
            except Unauthorized:
                return
        async with transaction(self.sessions) as session:
            parameters = {"family_hash": family_hash, "id": grant_id, "client_id": client_id}
            user_id = await session.scalar(_REVOKE, parameters)
        if user_id is not None:
            await self.invalidate(user_id)

    async def _keep_client(self, session: AsyncSession, client_id: UUID) -> None:
        """Let a client live as long as the grant that it uses."""
        days = max(USED_DAYS, self.lifetime_days)
        await session.execute(_KEEP_CLIENT, {"client_id": client_id, "days": days})

    def _tokens(self, grant: Any, refresh_token: RefreshToken, scope: str) -> TokenResponse:  # noqa: ANN401  a row
        return TokenResponse(
            access_token=self.tokens.issue(grant["user_id"], grant["id"], grant["token_version"], scope),
            refresh_token=refresh_token.text(),
            expires_in=self.tokens.lifetime_seconds,
            scope=scope,
        )


async def list_grants(session: AsyncSession, user_id: UUID, *, before: UUID | None, limit: int) -> list[Any]:
    """Return a user's valid grants with ids lower than `before`, newest first."""
    parameters = {"user_id": user_id, "before": before, "limit": limit}
    return list((await session.execute(_LIST, parameters)).all())


async def delete_grant(session: AsyncSession, user_id: UUID, grant_id: UUID) -> None:
    """Delete a grant. Its tokens are invalid from the commit on.

    Raises:
        NotFound: if it does not exist, or belongs to another user.
    """
    if await session.scalar(_DELETE, {"user_id": user_id, "id": grant_id}) is None:
        raise NotFound("There is no program with this id that you allowed something.")


def _is_of(grant: Any, client_id: UUID, verifier: str, redirect_uri: str | None) -> bool:  # noqa: ANN401  a row
    """Return whether a code is this client's, by its redirect URI and by PKCE."""
    digest = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    return (
        grant["is_valid"]
        and grant["client_id"] == client_id
        and grant["redirect_uri"] == redirect_uri
        and hmac.compare_digest(grant["code_challenge"], digest)
    )


_DELETE_INVALID = text(f"""
    DELETE FROM oauth_grants WHERE id IN (
        SELECT s.id FROM oauth_grants s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
        WHERE s.user_id = :user_id AND (s.expires_at < now() OR NOT ({SIGN_IN_IS_VALID}))
    )
""")  # noqa: S608  a constant
_COUNT = text("SELECT count(*) FROM oauth_grants WHERE user_id = :user_id")
# The grant is as valid as the sign-in is: it ends with a change of the password, or of the account's token version.
_INSERT = text(f"""
    INSERT INTO oauth_grants (id, user_id, client_id, scope, code_hash, code_challenge, redirect_uri, token_version,
        password_digest, created_at, expires_at)
    SELECT :id, s.user_id, :client_id, :scope, :code_hash, :code_challenge, :redirect_uri, s.token_version,
        s.password_digest, now(), :expires_at
    FROM sign_ins s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.id = :sign_in_id AND {SIGN_IN_IS_VALID}
    RETURNING id
""")  # noqa: S608  a constant
# Of two concurrent requests with one code, the second waits for the first, and finds the code used.
_LOCK_CODE = text(f"""
    SELECT s.id, s.user_id, s.client_id, s.scope, s.code_challenge, s.redirect_uri, s.family_hash, s.token_version,
        s.expires_at > now() AND {SIGN_IN_IS_VALID} AS is_valid
    FROM oauth_grants s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.code_hash = :code_hash FOR UPDATE OF s
""")  # noqa: S608  a constant
_START = text("""
    UPDATE oauth_grants SET family_hash = :family_hash, refresh_hash = :refresh_hash, expires_at = :expires_at,
        last_used_at = now()
    WHERE id = :id
""")
_ROTATE = text(f"""
    UPDATE oauth_grants s SET
        refresh_hash = CASE WHEN s.refresh_hash = :presented THEN :following ELSE s.refresh_hash END,
        expires_at = CASE WHEN s.refresh_hash = :presented THEN :expires_at ELSE s.expires_at END,
        last_used_at = CASE WHEN s.refresh_hash = :presented THEN now() ELSE s.last_used_at END,
        ended_at = CASE WHEN s.refresh_hash = :presented THEN NULL ELSE now() END
    FROM users u LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.family_hash = :family_hash AND s.client_id = :client_id AND u.id = s.user_id AND s.expires_at > now()
        AND {SIGN_IN_IS_VALID}
    RETURNING s.id, s.user_id, s.token_version, s.scope, s.ended_at
""")  # noqa: S608  a constant
_END = text("UPDATE oauth_grants SET ended_at = now() WHERE id = :id AND ended_at IS NULL")
_REVOKE = text("""
    UPDATE oauth_grants SET ended_at = now()
    WHERE (family_hash = :family_hash OR id = :id) AND client_id = :client_id AND ended_at IS NULL
    RETURNING user_id
""")
# At most once a day: many users of one client would wait for each other.
_KEEP_CLIENT = text("""
    UPDATE oauth_clients SET expires_at = now() + make_interval(days => :days)
    WHERE id = :client_id AND expires_at < now() + make_interval(days => :days - 1)
""")
_LIST = text(f"""
    SELECT s.id, c.name AS client_name, s.redirect_uri, s.scope, s.created_at, s.last_used_at, s.expires_at
    FROM oauth_grants s JOIN oauth_clients c ON c.id = s.client_id
        JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.user_id = :user_id AND (CAST(:before AS uuid) IS NULL OR s.id < :before) AND s.expires_at > now()
        AND s.family_hash IS NOT NULL AND {SIGN_IN_IS_VALID}
    ORDER BY s.id DESC LIMIT :limit
""")  # noqa: S608  a constant
_DELETE = text("DELETE FROM oauth_grants WHERE id = :id AND user_id = :user_id RETURNING id")
