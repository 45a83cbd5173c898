"""Signing in, refreshing, signing out: the statements behind `/auth/token`, `/auth/refresh` and `/auth/logout`.

A sign-in is a family of refresh tokens. What makes it good stands in `STILL_GOOD`, which the check of every request
uses too (`authentication.py`): so whatever ends it holds at once, in every process, which forgets what it remembered
(`known.py`).
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

# Of `sign_ins s`, its user `u`, and the account `a`, which is a row only where something differs from the defaults.
STILL_GOOD = """
    s.ended_at IS NULL
    AND s.password_digest = encode(sha256(convert_to(u.password_hash, 'UTF8')), 'hex')
    AND s.token_version = coalesce(a.token_version, 0)
    AND coalesce(a.active, true)
"""
_WRONG = "The e-mail or the password is not right."
_NOT_VALID = "The refresh token is not valid, or not any more. Sign in again."


def password_digest(password_hash: str) -> str:
    """Return what a sign-in keeps of the password that it was made with."""
    return sha256(password_hash.encode()).hexdigest()


@dataclass(frozen=True)
class SignIns:
    """Makes, continues and ends sign-ins.

    Attributes:
        sessions: Of the database.
        tokens: Makes the access tokens.
        days: How long a sign-in lasts without use.
        changed: Is told of the account whose sign-in has ended.
    """

    sessions: Sessions
    tokens: AccessTokens
    days: int
    changed: Callable[[UUID], Awaitable[None]]

    async def credentials(self, email: str) -> "Credentials | None":
        """Return what an e-mail, in whatever case, is to be compared with; None where no account has it."""
        async with transaction(self.sessions) as session:
            row = (await session.execute(_CREDENTIALS, {"email": email})).one_or_none()
        return Credentials(*row) if row else None

    async def sign_in(self, known: "Credentials | None", password: SecretStr) -> TokenPair:
        """Begin a sign-in.

        Args:
            known: What `credentials` has returned.
            password: The one that was given.

        Raises:
            Unauthorized: if there is no such account, the password is another, or the account is not active. All of
                these take the same time and say the same.
        """
        right = await verify_password(password, known.password_hash if known else None)
        if not known or not right or not known.active:
            raise Unauthorized(_WRONG)
        sign_in_id, first = uuid7(), RefreshToken.first()
        at = now()
        async with transaction(self.sessions) as session:
            await session.execute(_FORGET_EXPIRED)
            stored = await session.scalar(
                _BEGIN,
                {
                    "id": sign_in_id,
                    "user_id": known.user_id,
                    "family_hash": first.family_hash,
                    "refresh_hash": first.own_hash,
                    "token_version": known.token_version,
                    "password_digest": password_digest(known.password_hash),
                    "created_at": at,
                    "expires_at": at + timedelta(days=self.days),
                },
            )
        if stored is None:  # the account was deleted while the password was being verified
            raise Unauthorized(_WRONG)
        return self._pair(known.user_id, sign_in_id, known.token_version, first)

    async def refresh(self, given: SecretStr) -> TokenPair:
        """Take a refresh token for a new pair. One that was taken before ends its whole family.

        Raises:
            Unauthorized: if it is not the one that is good now.
        """
        presented = RefreshToken.parse(given.get_secret_value())
        following = presented.next()
        async with transaction(self.sessions) as session:
            found = await session.execute(
                _ROTATE,
                {
                    "family_hash": presented.family_hash,
                    "presented": presented.own_hash,
                    "following": following.own_hash,
                    "expires_at": now() + timedelta(days=self.days),
                },
            )
            row = found.one_or_none()
        if row is None:
            raise Unauthorized(_NOT_VALID)
        if row.ended_at is not None:
            await self.changed(row.user_id)
            raise Unauthorized(_NOT_VALID)
        return self._pair(row.user_id, row.id, row.token_version, following)

    async def sign_out(self, given: SecretStr) -> None:
        """End the family of a refresh token, access tokens included. One that is not known has nothing to end."""
        try:
            presented = RefreshToken.parse(given.get_secret_value())
        except Unauthorized:
            return
        async with transaction(self.sessions) as session:
            user_id = await session.scalar(_END, {"family_hash": presented.family_hash})
        if user_id is not None:
            await self.changed(user_id)

    def _pair(self, user_id: UUID, sign_in_id: UUID, token_version: int, refresh: RefreshToken) -> TokenPair:
        return TokenPair(
            access_token=self.tokens.issue(user_id, sign_in_id, token_version),
            refresh_token=refresh.text(),
            expires_in=self.tokens.seconds,
        )


@dataclass(frozen=True)
class Credentials:
    """What a sign-in is compared with.

    Attributes:
        user_id: Whose it is.
        password_hash: Of the password.
        active: Whether the account may sign in.
        token_version: What its access tokens have to name.
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
_BEGIN = text("""
    INSERT INTO sign_ins (id, user_id, family_hash, refresh_hash, token_version, password_digest, created_at,
        expires_at)
    SELECT :id, u.id, :family_hash, :refresh_hash, :token_version, :password_digest, :created_at, :expires_at
    FROM users u WHERE u.id = :user_id FOR KEY SHARE
    RETURNING id
""")
# Whoever comes second with one token waits for the first's row, sees another hash there, and ends the family.
_ROTATE = text(f"""
    UPDATE sign_ins s SET
        refresh_hash = CASE WHEN s.refresh_hash = :presented THEN :following ELSE s.refresh_hash END,
        expires_at = CASE WHEN s.refresh_hash = :presented THEN :expires_at ELSE s.expires_at END,
        ended_at = CASE WHEN s.refresh_hash = :presented THEN NULL ELSE now() END
    FROM users u LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.family_hash = :family_hash AND u.id = s.user_id AND s.expires_at > now() AND {STILL_GOOD}
    RETURNING s.id, s.user_id, s.token_version, s.ended_at
""")  # noqa: S608  no part of it comes from outside
_END = text("""
    UPDATE sign_ins SET ended_at = now() WHERE family_hash = :family_hash AND ended_at IS NULL RETURNING user_id
""")
_FORGET_EXPIRED = text("""
    DELETE FROM sign_ins WHERE id IN (
        SELECT id FROM sign_ins WHERE expires_at < now() ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
    )
""")
