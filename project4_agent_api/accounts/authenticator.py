"""Authentication and rate limiting of a request. Both need Redis, and share one call to it."""

from dataclasses import dataclass, field
from uuid import UUID

from starlette.requests import HTTPConnection
from starlette.types import Receive

from project3_rag_docs.settings import MIB
from project4_agent_api.accounts.api_keys import key_hash
from project4_agent_api.accounts.principal_cache import PrincipalCache, version_key
from project4_agent_api.accounts.principals import (
    LOCAL_USER,
    Principal,
    load_by_api_key,
    load_by_mcp_token,
    load_by_token,
)
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.accounts.tokens import AccessTokens, is_mcp_token
from project4_agent_api.core.postgres import Pool
from project4_agent_api.core.rate_limits import CostLimits, RateLimit, RateLimiter, RateLimitResult, client_network
from project4_agent_api.core.request_costs import Pacing, RequestCost
from project4_agent_api.settings import Settings
from shared.errors import Unauthorized

_NO_CREDENTIAL = "Send a token as `Authorization: Bearer …`, or an API key as `X-Api-Key`."
_REQUEST_MB, _REQUEST_SECONDS = 5, 0.3  # of which a user may send RATE_LIMIT_PER_MINUTE by default
_MIN_MB, _MIN_SECONDS = 500, 30.0


def request_limit(name: str, settings: Settings) -> RateLimit:
    """Return the limit on the number of a client's requests, and on their cost."""
    requests = settings.rate_limit_per_minute
    size = settings.rate_limit_mb_per_minute or max(_MIN_MB, _REQUEST_MB * requests)
    seconds = settings.rate_limit_seconds_per_minute or max(_MIN_SECONDS, _REQUEST_SECONDS * requests)
    return RateLimit(name, requests, costs=CostLimits(size * MIB, seconds))


@dataclass(frozen=True)
class Authenticator:
    """Finds the principal of a request, and counts the request against its rate limit.

    Attributes:
        auth_required: If false, every request comes from the local user.
        per_user: Limit of an authenticated user.
        per_address: Limit of an address without valid credentials.
        project_auth: The project's own authentication, which replaces the accounts.
        mcp_tokens: Verifies the tokens of OAuth clients; None if they cannot sign in.
        pacing: Spreads the requests of all clients that have caused much work.
    """

    auth_required: bool
    per_user: RateLimit
    per_address: RateLimit
    pool: Pool
    tokens: AccessTokens
    principals: PrincipalCache
    rate_limiter: RateLimiter
    project_auth: ProjectAuth | None = None
    mcp_tokens: AccessTokens | None = None
    pacing: Pacing = field(default_factory=Pacing)

    async def authenticate(self, token: str | None, api_key: str | None) -> tuple[Principal, RateLimitResult]:
        """Return the principal of a request, and count the request. If there is a token, the API key is ignored.

        Raises:
            Unauthorized: if there is no credential, or it is not valid.
            DatabaseUnavailable: if the principal is not cached and the database is unavailable.
        """
        if not self.auth_required:
            return LOCAL_USER, await self._count(LOCAL_USER.account_id)
        if token is None and api_key is None:
            raise Unauthorized(_NO_CREDENTIAL)
        credential = f"token {token}" if token is not None else f"key {key_hash(api_key or '')}"
        cached = self.principals.get(credential)
        counted = await self._count(cached.principal.account_id) if cached else None
        if cached and counted and cached.is_valid(counted.version):
            self.principals.counters.hits += 1
            return cached.principal, counted
        self.principals.counters.misses += 1
        principal = await self._load(credential, token, api_key, counted)
        # Counted only after the credential was verified, so that nobody else can use up an account's limit.
        return principal, counted or await self._count(principal.account_id)

    async def authenticate_by_project(
        self, connection: HTTPConnection, receive: Receive
    ) -> tuple[Principal, RateLimitResult, Receive]:
        """Return the principal of a request, and count the request. The project's handler decides.

        Raises:
            Unauthorized, HTTPException: if the handler refuses the request.
        """
        if self.project_auth is None:
            raise RuntimeError("the project has no authentication of its own")
        principal, receive = await self.project_auth.authenticate(connection, receive)
        return principal, await self._count(principal.account_id), receive

    async def count_anonymous(self, address: str) -> RateLimitResult:
        """Count a request that has no valid credential."""
        return await self.rate_limiter.count(self.per_address, client_network(address))

    def pacing_of(self, counted: RateLimitResult) -> Pacing | None:
        """Return the pacing of a counted request; None if its client has not caused much work."""
        return self.pacing if counted.is_heavy else None

    def charge(self, account_id: UUID, cost: RequestCost) -> None:
        """Charge the cost of a user's request."""
        self.rate_limiter.charge(self.per_user, str(account_id), cost)

    def charge_anonymous(self, address: str, cost: RequestCost) -> None:
        """Charge the cost of a request that has no valid credential."""
        self.rate_limiter.charge(self.per_address, client_network(address), cost)

    async def _load(
        self, credential: str, token: str | None, api_key: str | None, counted: RateLimitResult | None
    ) -> Principal:
        """Query PostgreSQL for the principal, and cache it with the version read before the query."""
        version = counted.version if counted else None
        if token is None:  # the account of an unseen key is unknown, so its principal is cached from the second request
            return await self.principals.load(credential, version, lambda: load_by_api_key(self.pool, api_key or ""))
        of_client = self.mcp_tokens is not None and is_mcp_token(token)
        try:
            claims = (self.mcp_tokens if self.mcp_tokens and of_client else self.tokens).read(token)
        except Unauthorized:
            self.principals.discard(credential)
            raise
        if counted is None:
            version = await self.principals.current_version(claims.account_id)
        load = load_by_mcp_token if of_client else load_by_token
        return await self.principals.load(credential, version, lambda: load(self.pool, claims))

    async def _count(self, account_id: UUID) -> RateLimitResult:
        return await self.rate_limiter.count(self.per_user, str(account_id), version_key(account_id))
