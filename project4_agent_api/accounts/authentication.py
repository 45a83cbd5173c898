"""Who sends a request. It is asked for every one, so it is one statement, and nothing is remembered between two."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, LiteralString
from uuid import UUID

from fastapi import Request

from project4_agent_api.accounts.api_keys import key_hash
from project4_agent_api.accounts.sign_ins import STILL_GOOD
from project4_agent_api.accounts.tokens import AccessTokens
from project4_agent_api.models import AccountRole
from project4_agent_api.postgres import Row, connected
from shared.errors import Unauthorized
from shared.owner import LOCAL_OWNER_ID

_NOBODY = "Send a token as `Authorization: Bearer …`, or an API key as `X-Api-Key`."
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


async def identify(request: Request, token: str | None, api_key: str | None) -> Principal:
    """Say who sends a request. Where there is a token, the key is not looked at.

    Raises:
        Unauthorized: if neither shows it.
        DatabaseUnavailable: if the database is away.
    """
    if not request.app.state.settings.auth_required:
        return LOCAL_USER
    if token is not None:
        return await _by_token(request, token)
    if api_key is not None:
        return await _by_api_key(request, api_key)
    raise Unauthorized(_NOBODY)


async def _by_token(request: Request, token: str) -> Principal:
    tokens: AccessTokens = request.app.state.access_tokens
    says = tokens.read(token)
    row = await _row(
        request, _BY_TOKEN, {"family": says.sign_in_id, "user": says.account_id, "version": says.token_version}
    )
    if row is None:
        raise Unauthorized(_NOT_VALID)
    return Principal(says.account_id, AccountRole(row["role"]), row["email"], "token", says.sign_in_id)


async def _by_api_key(request: Request, key: str) -> Principal:
    row = await _row(request, _BY_API_KEY, {"key_hash": key_hash(key)})
    if row is None:
        raise Unauthorized("The API key is not valid, or not any more.")
    return Principal(row["id"], AccountRole(row["role"]), row["email"], "api_key")


async def _row(request: Request, statement: LiteralString, parameters: Mapping[str, object]) -> Row | None:
    async with connected(request.app.state.pool) as connection:
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
        SELECT k.id AS key_id, k.last_used_at, u.id, u.email, coalesce(a.role, 'user') AS role
        FROM api_keys k JOIN users u ON u.id = k.user_id LEFT JOIN accounts a ON a.user_id = u.id
        WHERE k.key_hash = %(key_hash)s AND (k.expires_at IS NULL OR k.expires_at > now()) AND coalesce(a.active, true)
    ), used AS (
        UPDATE api_keys SET last_used_at = now() FROM found
        WHERE api_keys.id = found.key_id
            AND (found.last_used_at IS NULL OR found.last_used_at < now() - interval '1 minute')
    )
    SELECT id, email, role FROM found
"""
