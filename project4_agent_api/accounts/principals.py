"""Whom a token or a key shows, in one statement each. `admission.py` asks, and remembers for a moment what it heard."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from time import time
from typing import Literal, LiteralString
from uuid import UUID

from project4_agent_api.accounts.api_keys import key_hash
from project4_agent_api.accounts.sign_ins import STILL_GOOD
from project4_agent_api.accounts.tokens import LEEWAY_SECONDS, AccessToken
from project4_agent_api.core.postgres import Pool, Row, connected
from project4_agent_api.models import AccountRole
from shared.errors import Unauthorized
from shared.owner import LOCAL_OWNER_ID

_NOT_VALID = "The token is not valid, or not any more. Sign in again."


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes:
        account_id: The account, which owns what is made.
        role: What it may do.
        email: Of the account.
        by: How it was shown.
        sign_in_id: The sign-in, where it was shown by a token.
    """

    account_id: UUID
    role: AccountRole
    email: str
    by: Literal["token", "api_key", "nothing"]
    sign_in_id: UUID | None = None


# Whoever asks where AUTH_REQUIRED is false: a development machine's one user, who may do everything there.
LOCAL_USER = Principal(LOCAL_OWNER_ID, AccountRole.ADMIN, "local user", "nothing")


async def by_token(pool: Pool, says: AccessToken) -> tuple[Principal, float]:
    """Return whom an access token shows, and for how many seconds it will do so.

    Raises:
        Unauthorized: if it was revoked.
        DatabaseUnavailable: if the database is away.
    """
    row = await _row(
        pool, _BY_TOKEN, {"family": says.sign_in_id, "user": says.account_id, "version": says.token_version}
    )
    if row is None:
        raise Unauthorized(_NOT_VALID)
    principal = Principal(says.account_id, AccountRole(row["role"]), row["email"], "token", says.sign_in_id)
    return principal, says.expires_at + LEEWAY_SECONDS - time()


async def by_api_key(pool: Pool, key: str) -> tuple[Principal, float]:
    """Return whom an API key shows, and for how many seconds it will do so.

    Raises:
        Unauthorized: if there is none such.
        DatabaseUnavailable: if the database is away.
    """
    row = await _row(pool, _BY_API_KEY, {"key_hash": key_hash(key)})
    if row is None:
        raise Unauthorized("The API key is not valid, or not any more.")
    principal = Principal(row["id"], AccountRole(row["role"]), row["email"], "api_key")
    return principal, inf if row["seconds"] is None else row["seconds"]


async def _row(pool: Pool, statement: LiteralString, parameters: Mapping[str, object]) -> Row | None:
    async with connected(pool) as connection:
        cursor = await connection.execute(statement, parameters)
        return await cursor.fetchone()


_BY_TOKEN = f"""
    SELECT u.email, coalesce(a.role, 'user') AS role
    FROM sign_ins s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.id = %(family)s AND s.user_id = %(user)s AND s.token_version = %(version)s AND {STILL_GOOD}
"""  # noqa: S608  no part of it comes from outside
# When it was last used is written once a minute, in the same statement.
_BY_API_KEY = """
    WITH found AS (
        SELECT k.id AS key_id, k.last_used_at, u.id, u.email, coalesce(a.role, 'user') AS role,
            extract(epoch FROM k.expires_at - now())::float8 AS seconds
        FROM api_keys k JOIN users u ON u.id = k.user_id LEFT JOIN accounts a ON a.user_id = u.id
        WHERE k.key_hash = %(key_hash)s AND (k.expires_at IS NULL OR k.expires_at > now()) AND coalesce(a.active, true)
    ), used AS (
        UPDATE api_keys SET last_used_at = now() FROM found
        WHERE api_keys.id = found.key_id
            AND (found.last_used_at IS NULL OR found.last_used_at < now() - interval '1 minute')
    )
    SELECT id, email, role, seconds FROM found
"""
