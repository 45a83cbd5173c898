"""Who sends a request, and whether it is one too many. It is asked for every one: both are one call of Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from fastapi import FastAPI

from project4_agent_api.accounts.api_keys import key_hash
from project4_agent_api.accounts.principal_cache import KnownAccounts, stamp_of
from project4_agent_api.accounts.principals import LOCAL_USER, Principal, by_api_key, by_token
from project4_agent_api.accounts.tokens import AccessTokens
from project4_agent_api.core.postgres import Pool
from project4_agent_api.core.rate_limits import Counted, Limit, RateLimits, network
from project4_agent_api.settings import Settings
from shared.errors import Unauthorized

_NOBODY = "Send a token as `Authorization: Bearer …`, or an API key as `X-Api-Key`."


@dataclass(frozen=True)
class Admission:
    """Lets requests in.

    Attributes:
        auth_required: Whether somebody has to show who they are; everyone is the local user, if not.
        per_user: How often a user may ask.
        per_address: How often an address may ask where there is no user.
        pool: Of the database's connections.
        tokens: Reads access tokens.
        known: What is remembered of accounts.
        limits: Counts.
    """

    auth_required: bool
    per_user: Limit
    per_address: Limit
    pool: Pool
    tokens: AccessTokens
    known: KnownAccounts[Principal]
    limits: RateLimits

    async def admit(self, token: str | None, api_key: str | None) -> tuple[Principal, Counted]:
        """Say who sends a request, and count it as theirs. Where there is a token, the key is not looked at.

        Raises:
            Unauthorized: if neither shows it.
            DatabaseUnavailable: if the database is away.
        """
        if not self.auth_required:
            return LOCAL_USER, await self._count(LOCAL_USER.account_id)
        if token is None and api_key is None:
            raise Unauthorized(_NOBODY)
        credential = f"token {token}" if token is not None else f"key {key_hash(api_key or '')}"
        known = self.known.get(credential)
        counted = await self._count(known.what.account_id) if known else None
        if known and counted and known.holds(counted.stamp):
            self.known.counters.hits += 1
            return known.what, counted
        self.known.counters.misses += 1
        principal = await self._look(credential, token, api_key, counted)
        # Only who has shown who they are is counted as that: nobody's requests are used up by somebody else.
        return principal, counted or await self._count(principal.account_id)

    async def admit_stranger(self, address: str) -> Counted:
        """Count a request of which nobody knows whose it is."""
        return await self.limits.count(self.per_address, network(address))

    async def _look(
        self, credential: str, token: str | None, api_key: str | None, counted: Counted | None
    ) -> Principal:
        """Ask PostgreSQL, and remember what it says under the stamp that was there before."""
        stamp = counted.stamp if counted else None
        if token is None:  # whose a key is that was never seen nobody knows: it is trusted from the second time on
            return await self.known.learn(credential, stamp, lambda: by_api_key(self.pool, api_key or ""))
        try:
            says = self.tokens.read(token)
        except Unauthorized:
            self.known.drop(credential)
            raise
        if counted is None:
            stamp = await self.known.stamp(says.account_id)
        return await self.known.learn(credential, stamp, lambda: by_token(self.pool, says))

    async def _count(self, account_id: UUID) -> Counted:
        return await self.limits.count(self.per_user, str(account_id), stamp_of(account_id))


@asynccontextmanager
async def admission(app: FastAPI) -> AsyncIterator[None]:
    """Put what lets requests in on `app.state`."""
    state = app.state
    settings: Settings = state.settings
    state.admission = Admission(
        auth_required=settings.auth_required,
        per_user=Limit("user", settings.rate_limit_per_minute),
        per_address=Limit("address", settings.rate_limit_per_minute),
        pool=state.pool,
        tokens=state.access_tokens,
        known=state.known_accounts,
        limits=state.rate_limits,
    )
    yield
