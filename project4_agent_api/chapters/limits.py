"""Chapter 3: cache and limits. `make run-project4 CHAPTER=limits` runs it.

Redis joins: every process counts against the same limits, and shares cached principals, embeddings, searches and
answers. The guards are those of the stage now. A request with an `Idempotency-Key` is executed once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from fastapi import FastAPI

from project1_qa_api.routes import ask
from project2_user_mgmt.routes import messages, users
from project3_rag_docs import main as stage3
from project4_agent_api.accounts import routes as accounts
from project4_agent_api.accounts.authenticator import Authenticator, request_limit
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.guards import Authenticated, Public, xray_access
from project4_agent_api.accounts.invitations import Invitations
from project4_agent_api.accounts.login_throttle import LoginThrottle
from project4_agent_api.accounts.open_responses import OpenResponses
from project4_agent_api.accounts.principal_cache import PrincipalCache
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.accounts.tokens import AccessTokens
from project4_agent_api.chapters import ChapterSettings, conversations
from project4_agent_api.chapters.accounts import EARLIER_RESOURCES, PANELS, NoThreads, run_jobs
from project4_agent_api.chapters.agents import memory_conversations
from project4_agent_api.chapters.conversations import Conversations
from project4_agent_api.core.caches import Caches, create_caches
from project4_agent_api.core.history import RedisHistory
from project4_agent_api.core.idempotency import Idempotency, describe
from project4_agent_api.core.postgres import Pool, open_pool
from project4_agent_api.core.rate_limits import RateLimiter
from project4_agent_api.core.state import publish
from project4_agent_api.models import AccountRole
from project4_agent_api.settings import Settings
from project4_agent_api.threads.service import Threads
from shared import health
from shared.app import build_app
from shared.redis.client import RedisClient, open_redis
from shared.serve import serve


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of the process."""

    settings: Settings
    pool: Pool
    redis: RedisClient
    caches: Caches
    history: RedisHistory
    principals: PrincipalCache
    sign_ins: SignIns
    invitations: Invitations
    login_throttle: LoginThrottle
    authenticator: Authenticator
    open_responses: OpenResponses
    idempotency: Idempotency
    account_data: AccountData
    conversations: Conversations


@asynccontextmanager
async def open_limits(app: FastAPI) -> AsyncIterator[None]:
    """Connect to Redis, and create the limits and caches. Stages 1 and 3 use the shared history and the caches."""
    settings: ChapterSettings = app.state.settings
    async with (
        open_pool(settings, app.state.checks) as pool,
        open_redis(settings, app.state.checks) as redis,
    ):
        rate_limiter, principals = RateLimiter(redis), PrincipalCache(redis)
        tokens = AccessTokens(settings.jwt_secret.get_secret_value(), settings.access_token_minutes)
        caches = create_caches(settings, redis, pool, app.state.embeddings, app.state.document_answerer)
        history = RedisHistory(redis, settings.history_size)
        app.state.history, app.state.document_answerer = history, caches.document_answerer
        state = State(
            settings=settings,
            pool=pool,
            redis=redis,
            caches=caches,
            history=history,
            principals=principals,
            sign_ins=SignIns(app.state.sessions, tokens, settings.refresh_token_days, principals.invalidate),
            invitations=Invitations(tokens, settings.registration),
            login_throttle=LoginThrottle.from_settings(settings, rate_limiter),
            authenticator=Authenticator(
                auth_required=settings.auth_required,
                per_user=request_limit("user", settings),
                per_address=request_limit("address", settings),
                pool=pool,
                tokens=tokens,
                principals=principals,
                rate_limiter=rate_limiter,
            ),
            open_responses=OpenResponses(pool),
            idempotency=Idempotency(pool, settings.lease_seconds),
            account_data=AccountData(app.state.sessions, cast("Threads", NoThreads(pool)), app.state.jobs, history),
            conversations=await memory_conversations(app),
        )
        publish(app, state)
        app.state.user_hooks.on_user_changed.append(principals.invalidate)
        app.state.user_hooks.on_user_deleted.append(state.account_data.before_user_deletion)
        async with state.open_responses.checking(), run_jobs(app, state.account_data):
            yield


EARLIER_ROUTERS = [
    health.router,
    Public(accounts.router),
    Authenticated(accounts.own_router, accounts.api_key_router),
    Authenticated(ask.router),
    Authenticated(users.router, messages.router, role=AccountRole.ADMIN),
    Authenticated(*stage3.DOCUMENT_ROUTERS),
]
ROUTERS = [*EARLIER_ROUTERS, Authenticated(conversations.router)]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 2 with limits and caches."""
    return build_app(
        settings,
        title="Project 4, chapter 3: cache and limits",
        description="Rate limits, caches and idempotency keys that processes share in Redis.",
        routers=ROUTERS,
        resources=[*EARLIER_RESOURCES, open_limits],
        panels=PANELS if settings.auth_required else stage3.PANELS,
        xray_access=xray_access(auth_required=settings.auth_required),
        body_limits=stage3.body_limits(settings),
        extend_openapi=describe,
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
