"""Chapter 2: accounts. `make run-project4 CHAPTER=accounts` runs it.

Everything from chapter 1 is behind a guard now, the smallest that works: it reads the token, asks PostgreSQL for the
account, and stores its id in the request, where stages 1 to 3 find the owner. Every request costs a query, and nobody
counts wrong passwords: chapter 3 adds the caches and the limits, and replaces this guard with `accounts/guards.py`.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.types import Receive, Scope, Send

from project1_qa_api import main as stage1
from project1_qa_api.routes import ask
from project2_user_mgmt import main as stage2
from project2_user_mgmt.routes import messages, users
from project3_rag_docs import main as stage3
from project4_agent_api.accounts import deletion, routes
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.guards import current_principal, require_administrator, xray_access
from project4_agent_api.accounts.invitations import Invitations
from project4_agent_api.accounts.login_throttle import LoginThrottle
from project4_agent_api.accounts.principal_cache import PrincipalCache
from project4_agent_api.accounts.principals import LOCAL_USER, Principal, load_by_api_key, load_by_token
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.accounts.tokens import AccessTokens
from project4_agent_api.chapters import WithoutRedis, conversations
from project4_agent_api.chapters.agents import memory_conversations
from project4_agent_api.chapters.conversations import Conversations
from project4_agent_api.core.attempt_limits import Attempt
from project4_agent_api.core.history import RedisHistory
from project4_agent_api.core.postgres import Pool, open_pool
from project4_agent_api.core.state import find, publish
from project4_agent_api.models import AccountRole
from project4_agent_api.settings import Settings
from project4_agent_api.threads.service import Threads
from shared import health
from shared.app import build_app
from shared.errors import DatabaseUnavailable, Forbidden, Unauthorized
from shared.frontend import Panel
from shared.jobs.queue import add_tasks
from shared.problems import error_responses
from shared.serve import serve

_token = OAuth2PasswordBearer(tokenUrl="auth/token", auto_error=False)
_api_key = APIKeyHeader(name="X-Api-Key", auto_error=False)


class SignedIn(APIRouter):
    """Routers that need a valid token or API key.

    Args:
        role: Role that callers must have.
    """

    def __init__(self, *routers: APIRouter, role: AccountRole = AccountRole.USER) -> None:
        check = require_administrator if role == AccountRole.ADMIN else current_principal
        super().__init__(
            dependencies=[Depends(check)], responses=error_responses(Unauthorized, Forbidden, DatabaseUnavailable)
        )
        for router in routers:
            self.include_router(router)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as its principal."""
        request = Request(scope)
        principal = await authenticate(request)
        request.state.principal, request.state.owner_id = principal, principal.account_id
        await super().handle(scope, receive, send)


async def authenticate(request: Request) -> Principal:
    """Return the principal of a request, with one query.

    Raises:
        Unauthorized: if there is no valid token or API key.
    """
    state = find(request.app, State)
    if not request.app.state.settings.auth_required:
        return LOCAL_USER
    if token := await _token(request):
        principal, _ = await load_by_token(state.pool, state.access_tokens.read(token))
        return principal
    if key := await _api_key(request):
        principal, _ = await load_by_api_key(state.pool, key)
        return principal
    raise Unauthorized("Send a token as `Authorization: Bearer …`, or an API key as `X-Api-Key`.")


class NoThrottle(LoginThrottle):
    """No limit on wrong passwords: it counts in Redis, which comes in chapter 3."""

    def __init__(self) -> None:
        pass

    async def count_address(self, address: str, path: str) -> None:
        """Do nothing."""

    def count_wrong_passwords(
        self, target: UUID | str, known_network: str | None
    ) -> AbstractAsyncContextManager[Attempt]:
        """Admit every check of a password."""
        del target, known_network
        return _admitted()


@asynccontextmanager
async def _admitted() -> AsyncIterator[Attempt]:
    yield Attempt()


class NoCache(PrincipalCache):
    """No cached principals, so none becomes invalid."""

    def __init__(self) -> None:
        pass

    async def invalidate(self, account_id: UUID) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class NoThreads:
    """Threads that accounts do not have yet."""

    pool: Pool

    async def delete_batch(self, _owner_id: UUID, _limit: int) -> int:
        """Delete nothing."""
        return 0


class NoHistory:
    """A history to delete that is not shared yet: stage 1's, which the process forgets."""

    async def delete(self, _owner_id: UUID) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of the process."""

    settings: Settings
    pool: Pool
    access_tokens: AccessTokens
    sign_ins: SignIns
    invitations: Invitations
    login_throttle: LoginThrottle
    principals: PrincipalCache
    account_data: AccountData
    conversations: Conversations


@asynccontextmanager
async def open_accounts(app: FastAPI) -> AsyncIterator[None]:
    """Create the parts of this chapter, and ingest documents in this process."""
    settings: WithoutRedis = app.state.settings
    async with open_pool(settings, app.state.checks) as pool:
        tokens = AccessTokens(settings.jwt_secret.get_secret_value(), settings.access_token_minutes)
        cache = NoCache()
        state = State(
            settings=settings,
            pool=pool,
            access_tokens=tokens,
            invitations=Invitations(tokens, settings.registration),
            sign_ins=SignIns(app.state.sessions, tokens, settings.refresh_token_days, cache.invalidate),
            login_throttle=NoThrottle(),
            principals=cache,
            account_data=AccountData(
                app.state.sessions,
                cast("Threads", NoThreads(pool)),
                app.state.jobs,
                cast("RedisHistory", NoHistory()),
            ),
            conversations=await memory_conversations(app),
        )
        publish(app, state)
        app.state.user_hooks.on_user_deleted.append(state.account_data.before_user_deletion)
        async with run_jobs(app, state.account_data):
            yield


@asynccontextmanager
async def run_jobs(app: FastAPI, account_data: AccountData) -> AsyncIterator[None]:
    """Run the jobs of documents and of deleted accounts in this process. From chapter 4.3 on, a worker does."""
    add_tasks(app.state.jobs, deletion.TASKS)
    async with stage3.worker(app, account_data=account_data):
        yield


ROUTERS = [
    health.router,
    routes.router,
    SignedIn(routes.own_router, routes.api_key_router),
    SignedIn(ask.router),
    SignedIn(users.router, messages.router, role=AccountRole.ADMIN),
    SignedIn(*stage3.DOCUMENT_ROUTERS),
    SignedIn(conversations.router),
]
EARLIER_RESOURCES = [resource for resource in stage3.RESOURCES if resource is not stage3.worker]
# The account's panel announces the signed-in user, and the other panels are for its audiences.
PANELS = [
    Panel(Path(__file__).parents[1] / "page" / "account.js"),
    replace(stage3.PANEL, audience="users"),
    replace(stage1.PANEL, audience="users"),
    replace(stage2.PANEL, audience="administrators"),
]


def create_app(settings: WithoutRedis) -> FastAPI:
    """Create the application: chapter 1 behind accounts."""
    return build_app(
        settings,
        title="Project 4, chapter 2: accounts",
        description="Registration, sign-ins, API keys and roles; everything else requires them.",
        routers=ROUTERS,
        resources=[*EARLIER_RESOURCES, open_accounts],
        panels=PANELS if settings.auth_required else stage3.PANELS,
        xray_access=xray_access(auth_required=settings.auth_required, guard=SignedIn),
        body_limits=stage3.body_limits(settings),
    )


if __name__ == "__main__":
    serve(WithoutRedis, create_app)
