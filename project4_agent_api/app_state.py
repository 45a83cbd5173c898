"""The state of a process: what `bootstrap.py` opens, and routes take by type (`core/state.py`)."""

from dataclasses import dataclass
from typing import Any, NewType

import httpx2
from fastapi import FastAPI
from langchain_core.embeddings import Embeddings
from procrastinate import App as JobApp
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import QueuePool

from project2_user_mgmt.hooks import UserHooks
from project3_rag_docs.answers.answering import DocumentAnswerer
from project4_agent_api.accounts.authenticator import Authenticator
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.invitations import Invitations
from project4_agent_api.accounts.login_throttle import LoginThrottle
from project4_agent_api.accounts.oauth.grants import OAuthGrants
from project4_agent_api.accounts.open_responses import OpenResponses
from project4_agent_api.accounts.principal_cache import PrincipalCache
from project4_agent_api.accounts.sharing import Sharing
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.accounts.tokens import AccessTokens
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.caches import Caches
from project4_agent_api.core.history import RedisHistory
from project4_agent_api.core.idempotency import Idempotency
from project4_agent_api.core.postgres import Pool
from project4_agent_api.core.storage import StorageQuota
from project4_agent_api.core.telemetry.collector import MetricsCollector
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import Tracing
from project4_agent_api.events.subscriber import Subscriber
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.webhooks import Webhooks
from project4_agent_api.settings import Settings
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads.service import Threads
from shared.database.engine import Sessions
from shared.health import Checks
from shared.redis.client import RedisClient
from shared.shutdown import Shutdown

BlockingRedis = NewType("BlockingRedis", RedisClient)  # its connections wait for messages without a time limit


@dataclass(frozen=True, kw_only=True)
class EarlierState:
    """The part of `app.state` that the resources of stages 1 to 3 have set."""

    settings: Settings
    checks: Checks
    shutdown: Shutdown
    model_http: httpx2.AsyncClient
    orm_pool: QueuePool
    sessions: Sessions
    jobs: JobApp
    job_pool: AsyncConnectionPool[Any]
    embeddings: Embeddings
    document_answerer: DocumentAnswerer
    user_hooks: UserHooks

    @classmethod
    def from_app(cls, app: FastAPI) -> "EarlierState":
        """Read it, once the resources are open."""
        state = app.state
        return cls(
            settings=state.settings,
            checks=state.checks,
            shutdown=state.shutdown,
            model_http=state.model_http,
            orm_pool=state.engine.pool,
            sessions=state.sessions,
            jobs=state.jobs,
            job_pool=state.jobs.connector.pool,
            embeddings=state.embeddings,
            document_answerer=state.document_answerer,
            user_hooks=state.user_hooks,
        )


@dataclass(frozen=True, kw_only=True)
class AppState:
    """The state of both processes."""

    settings: Settings
    metrics: Metrics
    tracing: Tracing
    sessions: Sessions
    jobs: JobApp
    redis: RedisClient
    blocking_redis: BlockingRedis
    pool: Pool
    caches: Caches
    graphs: Graphs
    assistants: Assistants
    checkpoints: CheckpointSaver
    store: SharedStore
    subscriber: Subscriber
    webhooks: Webhooks
    threads: Threads
    runs: Runs
    history: RedisHistory
    account_data: AccountData
    quota: StorageQuota


@dataclass(frozen=True, kw_only=True)
class ApiState(AppState):
    """The state of an API process: accounts and limits in addition."""

    collector: MetricsCollector
    access_tokens: AccessTokens
    principals: PrincipalCache
    sign_ins: SignIns
    invitations: Invitations
    login_throttle: LoginThrottle
    authenticator: Authenticator
    open_responses: OpenResponses
    idempotency: Idempotency
    sharing: Sharing
    oauth_grants: OAuthGrants


@dataclass(frozen=True, kw_only=True)
class WorkerState(AppState):
    """The state of a worker."""

    collector: MetricsCollector
