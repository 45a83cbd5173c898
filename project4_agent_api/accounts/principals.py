"""The queries that resolve a token or an API key to a principal. `authenticator.py` caches their results."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from math import inf
from time import time
from typing import Literal
from uuid import UUID

from project4_agent_api.accounts.api_keys import key_hash
from project4_agent_api.accounts.sign_ins import SIGN_IN_IS_VALID
from project4_agent_api.accounts.tokens import INVALID_TOKEN, AccessToken
from project4_agent_api.core.postgres import Pool, fetch_all, fetch_one
from project4_agent_api.core.project_user import ProjectUser
from project4_agent_api.models import AccountRole
from shared.errors import Unauthorized
from shared.owner import LOCAL_OWNER_ID


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of a request.

    Attributes:
        account_id: The account, which owns what the caller creates.
        credential_id: The sign-in of a token, the API key, or the grant of an OAuth client.
        token_rejected_at: Unix time from which the token is no longer accepted; None for an API key.
        project_user: The user, if the project's own code has authenticated the request.
        is_still_accepted: Asks the project's code again.
        scopes: Scopes of an OAuth client's grant; None if the credential is not restricted.
    """

    account_id: UUID
    role: AccountRole
    email: str
    authenticated_by: Literal["token", "api_key", "oauth", "nothing", "project"]
    credential_id: UUID | None = None
    token_rejected_at: float | None = None
    project_user: ProjectUser | None = field(default=None, compare=False)
    is_still_accepted: Callable[[], Awaitable[bool]] | None = field(default=None, compare=False)
    scopes: frozenset[str] | None = None

    @property
    def user(self) -> ProjectUser:
        """The caller as graphs and a project's code see it."""
        return self.project_user or ProjectUser(
            {
                "identity": str(self.account_id),
                "display_name": self.email,
                "is_authenticated": self.authenticated_by != "nothing",
            }
        )

    @property
    def sign_in_id(self) -> UUID | None:
        """The sign-in, if the caller sent a token."""
        return self.credential_id if self.authenticated_by == "token" else None


# The caller of every request if AUTH_REQUIRED is false: the only user of a development machine, an administrator.
LOCAL_USER = Principal(LOCAL_OWNER_ID, AccountRole.ADMIN, "local user", "nothing")


async def load_by_token(pool: Pool, claims: AccessToken) -> tuple[Principal, float]:
    """Return the principal of an access token, and for how many seconds the token is still valid.

    Raises:
        Unauthorized: if the token was revoked.
        DatabaseUnavailable: if the database is unavailable.
    """
    row = await fetch_one(
        pool, _BY_TOKEN, {"family": claims.sign_in_id, "user": claims.account_id, "version": claims.token_version}
    )
    if row is None:
        raise Unauthorized(INVALID_TOKEN)
    principal = Principal(
        claims.account_id, AccountRole(row["role"]), row["email"], "token", claims.sign_in_id, claims.rejected_at
    )
    return principal, claims.rejected_at - time()


async def load_by_mcp_token(pool: Pool, claims: AccessToken) -> tuple[Principal, float]:
    """Return the principal of an OAuth client's access token, and for how many seconds the token is still valid.

    Raises:
        Unauthorized: if the grant has ended.
        DatabaseUnavailable: if the database is unavailable.
    """
    row = await fetch_one(pool, _BY_GRANT, {"grant": claims.sign_in_id, "user": claims.account_id})
    if row is None:
        raise Unauthorized(INVALID_TOKEN)
    principal = Principal(
        claims.account_id,
        AccountRole(row["role"]),
        row["email"],
        "oauth",
        claims.sign_in_id,
        claims.rejected_at,
        scopes=frozenset(claims.scope.split()),
    )
    return principal, claims.rejected_at - time()


async def load_by_api_key(pool: Pool, key: str) -> tuple[Principal, float]:
    """Return the principal of an API key, and for how many seconds the key is still valid.

    Raises:
        Unauthorized: if there is no such key, or it has expired.
        DatabaseUnavailable: if the database is unavailable.
    """
    row = await fetch_one(pool, _BY_API_KEY, {"key_hash": key_hash(key)})
    if row is None:
        raise Unauthorized("The API key is not valid.")
    principal = Principal(row["id"], AccountRole(row["role"]), row["email"], "api_key", row["key_id"])
    return principal, inf if row["seconds"] is None else row["seconds"]


async def list_valid(pool: Pool, principals: Collection[Principal]) -> set[UUID]:
    """Return the ids of the credentials that are still valid. The expiry of tokens is not checked.

    Raises:
        DatabaseUnavailable: if the database is unavailable.
    """
    ids = [principal.credential_id for principal in principals]
    return {row["id"] for row in await fetch_all(pool, _VALID, {"ids": ids})}


_BY_TOKEN = f"""
    SELECT u.email, coalesce(a.role, 'user') AS role
    FROM sign_ins s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.id = %(family)s AND s.user_id = %(user)s AND s.token_version = %(version)s AND {SIGN_IN_IS_VALID}
"""  # noqa: S608  a constant
_BY_GRANT = f"""
    SELECT u.email, coalesce(a.role, 'user') AS role
    FROM oauth_grants s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.id = %(grant)s AND s.user_id = %(user)s AND {SIGN_IN_IS_VALID}
"""  # noqa: S608  a constant
# The same statement updates `last_used_at`, at most once a minute.
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
    SELECT id, key_id, email, role, seconds FROM found
"""
_VALID = f"""
    SELECT s.id
    FROM sign_ins s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.id = ANY(%(ids)s) AND {SIGN_IN_IS_VALID}
    UNION ALL
    SELECT s.id
    FROM oauth_grants s JOIN users u ON u.id = s.user_id LEFT JOIN accounts a ON a.user_id = u.id
    WHERE s.id = ANY(%(ids)s) AND {SIGN_IN_IS_VALID}
    UNION ALL
    SELECT k.id
    FROM api_keys k LEFT JOIN accounts a ON a.user_id = k.user_id
    WHERE k.id = ANY(%(ids)s) AND (k.expires_at IS NULL OR k.expires_at > now()) AND coalesce(a.active, true)
"""  # noqa: S608  a constant
