"""Sign in, rotate refresh tokens, and sign out: the statements behind `/auth/token`, `/auth/refresh`, `/auth/logout`.

A sign-in is a family of refresh tokens. `SIGN_IN_IS_VALID` is the condition under which it is valid; the query behind
every request uses it too (`principals.py`). An ended sign-in is therefore rejected everywhere at once, as soon as the
cached principals are invalidated (`principal_cache.py`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now
from project2_user_mgmt.passwords import verify_password
from project4_agent_api.accounts.schemas import TokenPair
from project4_agent_api.accounts.tokens import AccessTokens, RefreshToken
from shared.database.engine import Sessions, transaction
from shared.errors import Unauthorized

# For `sign_ins s`, its user `u`, and the account `a`, whose row may be missing.
SIGN_IN_IS_VALID = """
    s.ended_at IS NULL
    AND s.password_digest = encode(sha256(convert_to(u.password_hash, 'UTF8')), 'hex')
    AND s.token_version = coalesce(a.token_version, 0)
    AND coalesce(a.active, true)
"""
_WRONG_CREDENTIALS = "The e-mail or the password is wrong."
_INVALID_REFRESH_TOKEN = "The refresh token is not valid. Sign in again."  # noqa: S105  a text


def password_digest(password_hash: str) -> str:
    """Return the digest by which a sign-in detects that the password was changed."""
    return sha256(password_hash.encode()).hexdigest()


@dataclass(frozen=True)
class SignIns:
    """Creates, refreshes and ends sign-ins.

    Attributes:
        lifetime_days: Days after which an unused sign-in expires.
        invalidate: Invalidates the cached principals of an account whose sign-in has ended.
    """

    sessions: Sessions
    tokens: AccessTokens
    lifetime_days: int
    invalidate: Callable[[UUID], Awaitable[None]]

    async def load_credentials(self, email: str) -> "Credentials | None":
        """Return the stored credentials of an e-mail, compared without case; None if no account has it."""
        async with transaction(self.sessions) as session:
            row = (await session.execute(_CREDENTIALS, {"email": email})).one_or_none()
        return Credentials(*row) if row else None

    async def sign_in(self, credentials: "Credentials | None", password: SecretStr) -> TokenPair:
        """Verify a password and create a sign-in.

        Raises:
            Unauthorized: if there is no account, the password is wrong, or the account is not active. All three take
                equally long and have the same text.
        """
        correct = await verify_password(password, credentials.password_hash if credentials else None)
        if not credentials or not correct or not credentials.active:
            raise Unauthorized(_WRONG_CREDENTIALS)
        sign_in_id, first = uuid7(), RefreshToken.first()
        at = now()
        async with transaction(self.sessions) as session:
            await session.execute(_DELETE_EXPIRED)
            stored = await session.scalar(
                _INSERT,
                {
                    "id": sign_in_id,
                    "user_id": credentials.user_id,
                    "family_hash": first.family_hash,
                    "refresh_hash": first.own_hash,
                    "token_version": credentials.token_version,
                    "password_digest": password_digest(credentials.password_hash),
                    "created_at": at,
                    "expires_at": at + timedelta(days=self.lifetime_days),
                },
            )
        if stored is None:  # the account was deleted while the password was being verified
            raise Unauthorized(_WRONG_CREDENTIALS)
        return self._pair(credentials.user_id, sign_in_id, credentials.token_version, first)

    async def refresh(self, refresh_token: SecretStr) -> TokenPair:
        """Rotate a refresh token: exchange it for a new pair. A token that was used before ends its whole family.

        Raises:
            Unauthorized: if it is not the current token of a valid sign-in.
        """
        presented = RefreshToken.parse(refresh_token.get_secret_value())
        following = presented.next()
        async with transaction(self.sessions) as session:
            result = await session.execute(
                _ROTATE,
                {
                    "family_hash": presented.family_hash,
                    "presented": presented.own_hash,
                    "following": following.own_hash,
                    "expires_at": now() + timedelta(days=self.lifetime_days),
                },
            )
            row = result.one_or_none()
        if row is None:
            raise Unauthorized(_INVALID_REFRESH_TOKEN)
        if row.ended_at is not None:
            await self.invalidate(row.user_id)
            raise Unauthorized(_INVALID_REFRESH_TOKEN)
        return self._pair(row.user_id, row.id, row.token_version, following)

    async def sign_out(self, refresh_token: SecretStr) -> None:
        """End the sign-in of a refresh token, including its access tokens. An unknown token is ignored."""
        try:
            presented = RefreshToken.parse(refresh_token.get_secret_value())
        except Unauthorized:
            return
        async with transaction(self.sessions) as session:
            user_id = await session.scalar(_END, {"family_hash": presented.family_hash})
        if user_id is not None:
            await self.invalidate(user_id)

    def _pair(self, user_id: UUID, sign_in_id: UUID, token_version: int, refresh_token: RefreshToken) -> TokenPair:
        return TokenPair(
            access_token=self.tokens.issue(user_id, sign_in_id, token_version),
            refresh_token=refresh_token.text(),
            expires_in=self.tokens.lifetime_seconds,
        )


@dataclass(frozen=True)
class Credentials:
    """The stored credentials of an account.

    Attributes:
        active: Whether the account may sign in.
        token_version: Version that the access tokens of a new sign-in carry.
    """

    user_id: UUID
    password_hash: str = field(repr=False)
    active: bool
    token_version: int


_CREDENTIALS = text("""
    SELECT u.id, u.password_hash, coalesce(a.active, true), coalesce(a.token_version, 0)
    FROM users u LEFT JOIN accounts a ON a.user_id = u.id
    WHERE lower(u.email) = lower(:email)
""")
_INSERT = text("""
    INSERT INTO sign_ins (id, user_id, family_hash, refresh_hash, token_version, password_digest, created_at,
        expires_at)
    SELECT :id, u.id, :family_hash, :refresh_hash, :token_version, :password_digest, :created_at, :expires_at
    FROM users u WHERE u.id = :user_id FOR KEY SHARE
    RETURNING id
""")
# Of two concurrent requests with one token, the second waits for the first's row lock, finds another hash, and ends the
# family.
_ROTATE = text(f"""
    UPDATE sign_ins s SET
        refresh_hash = CASE WHEN s.refresh_hash = :presented THEN :following ELSE s.refresh_hash END,
        expires_at = CASE WHEN s.refresh_hash = :presented THEN :expires_at ELSE s.expires_at END,
        ended_at = CASE WHEN s.refresh_hash = :presented THEN NULL ELSE now() END
    FROM users u LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.family_hash = :family_hash AND u.id = s.user_id AND s.expires_at > now() AND {SIGN_IN_IS_VALID}
    RETURNING s.id, s.user_id, s.token_version, s.ended_at
""")  # noqa: S608  a constant
_END = text("""
    UPDATE sign_ins SET ended_at = now() WHERE family_hash = :family_hash AND ended_at IS NULL RETURNING user_id
""")
_DELETE_EXPIRED = text("""
    DELETE FROM sign_ins WHERE id IN (
        SELECT id FROM sign_ins WHERE expires_at < now() ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
    )
""")
