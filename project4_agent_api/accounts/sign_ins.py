"""Sign in, rotate refresh tokens, and sign out: the statements behind `/auth/token`, `/auth/refresh`, `/auth/logout`.

A sign-in is a family of refresh tokens. `SIGN_IN_IS_VALID` is the condition under which it is valid; the query behind
every request uses it too (`principals.py`). An ended sign-in is therefore rejected everywhere at once, as soon as the
cached principals are invalidated (`principal_cache.py`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now
from project2_user_mgmt.passwords import verify_and_update
from project4_agent_api.accounts.schemas import TokenPair
from project4_agent_api.accounts.tokens import AccessTokens, RefreshToken
from shared.database.engine import Sessions, transaction
from shared.errors import Unauthorized

# For `sign_ins s` or `oauth_grants s`, its user `u`, and the account `a`, whose row may be missing.
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

    async def load_credentials(self, email: str, network: str) -> "tuple[Credentials | None, str | None]":
        """Return the stored credentials of an e-mail, compared without case; None if no account has it.

        Also return the client's network as `find_network` does.
        """
        async with transaction(self.sessions) as session:
            row = (await session.execute(_CREDENTIALS, {"email": email})).one_or_none()
            credentials = Credentials(*row) if row else None
            # The same query without an account, so that the duration reveals no accounts.
            account = (credentials.user_id, credentials.password_hash) if credentials else (UUID(int=0), "")
            known_network = await self.find_network(session, *account, network)
        return credentials, known_network

    async def find_network(self, session: AsyncSession, user_id: UUID, password_hash: str, network: str) -> str | None:
        """Return the hash of a network if the account has signed in from there with this password; otherwise None."""
        network_hash = self._hash_network(user_id, network)
        parameters = {
            "user_id": user_id,
            "network_hash": network_hash,
            "password_digest": password_digest(password_hash),
        }
        return network_hash if await session.scalar(_NETWORK_IS_KNOWN, parameters) else None

    async def verify(self, credentials: "Credentials | None", password: SecretStr) -> "VerifiedCredentials | None":
        """Verify a password. Return None if it is wrong, or there is no account, or the account is not active.

        All three take equally long.
        """
        correct, new_hash = await verify_and_update(password, credentials.password_hash if credentials else None)
        if not credentials or not correct or not credentials.active:
            return None
        return VerifiedCredentials(credentials, new_hash)

    async def create(self, verified: "VerifiedCredentials | None", password: SecretStr, network: str) -> TokenPair:
        """Create a sign-in, and replace an outdated hash of the password.

        Args:
            verified: Result of `verify`.
            password: The verified password.
            network: The client's network, which is stored as a hash.

        Raises:
            Unauthorized: if the credentials were not verified, or the account was deleted meanwhile. The text is the
                same.
        """
        if verified is None:
            raise Unauthorized(_WRONG_CREDENTIALS)
        credentials = await self._replace_hash(verified, password) if verified.new_hash else verified.credentials
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
                    "network_hash": self._hash_network(credentials.user_id, network),
                    "created_at": at,
                    "expires_at": at + timedelta(days=self.lifetime_days),
                },
            )
        if stored is None:  # the account was deleted while the password was being verified
            raise Unauthorized(_WRONG_CREDENTIALS)
        return self._pair(credentials.user_id, sign_in_id, credentials.token_version, first)

    async def _replace_hash(self, verified: "VerifiedCredentials", password: SecretStr) -> "Credentials":
        """Store the new hash of a password, under which the account's sign-ins stay valid."""
        credentials, new_hash = verified.credentials, verified.new_hash or ""
        parameters = {
            "user_id": credentials.user_id,
            "old_hash": credentials.password_hash,
            "new_hash": new_hash,
            "old_digest": password_digest(credentials.password_hash),
            "new_digest": password_digest(new_hash),
        }
        async with transaction(self.sessions) as session:
            current = await session.scalar(_LOCK_PASSWORD, parameters)
            if current == credentials.password_hash:
                await session.execute(_REPLACE_HASH, parameters)
                await session.execute(_REPLACE_DIGESTS, parameters)
                await session.execute(_REPLACE_DIGESTS_OF_GRANTS, parameters)
                current = new_hash
        # Another request has replaced the hash at the same time, or changed the password.
        if current != new_hash and not (await verify_and_update(password, current))[0]:
            raise Unauthorized(_WRONG_CREDENTIALS)
        return replace(credentials, password_hash=current or "")

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

    def _hash_network(self, user_id: UUID, network: str) -> str:
        """Return a hash from which the network cannot be guessed, although there are only 2³² of IPv4."""
        return self.tokens.keyed_hash(f"network {user_id} {network}")

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


@dataclass(frozen=True)
class VerifiedCredentials:
    """Credentials whose password was verified.

    Attributes:
        new_hash: Hash to store instead, if the stored one is outdated.
    """

    credentials: Credentials
    new_hash: str | None = field(repr=False)


_CREDENTIALS = text("""
    SELECT u.id, u.password_hash, coalesce(a.active, true), coalesce(a.token_version, 0)
    FROM users u LEFT JOIN accounts a ON a.user_id = u.id
    WHERE lower(u.email) = lower(:email)
""")
# Ended sign-ins count too, until they expire.
_NETWORK_IS_KNOWN = text("""
    SELECT EXISTS (
        SELECT FROM sign_ins
        WHERE user_id = :user_id AND network_hash = :network_hash AND password_digest = :password_digest
            AND expires_at > now()
    )
""")
_LOCK_PASSWORD = text("SELECT password_hash FROM users WHERE id = :user_id FOR NO KEY UPDATE")
_REPLACE_HASH = text("UPDATE users SET password_hash = :new_hash WHERE id = :user_id")
_REPLACE_DIGESTS = text("""
    UPDATE sign_ins SET password_digest = :new_digest WHERE user_id = :user_id AND password_digest = :old_digest
""")
_REPLACE_DIGESTS_OF_GRANTS = text("""
    UPDATE oauth_grants SET password_digest = :new_digest WHERE user_id = :user_id AND password_digest = :old_digest
""")
_INSERT = text("""
    INSERT INTO sign_ins (id, user_id, family_hash, refresh_hash, token_version, password_digest, network_hash,
        created_at, expires_at)
    SELECT :id, u.id, :family_hash, :refresh_hash, :token_version, :password_digest, :network_hash, :created_at,
        :expires_at
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
