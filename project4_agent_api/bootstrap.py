"""The composition root: everything that an API process and a worker open, in order.

`open_api` and `open_worker` are the resources of `main.py` and `worker.py`. Each ends with one frozen state, from which
routes take the parts that they need (`core/state.py`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NewType

import httpx2
from fastapi import FastAPI
from langchain_core.embeddings import Embeddings
from procrastinate import App as JobApp
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import QueuePool

from project2_user_mgmt.hooks import UserHooks
from project3_rag_docs import main as stage3
from project3_rag_docs.answers.answering import DocumentAnswerer
from project3_rag_docs.settings import MIB
from project4_agent_api.accounts import deletion
from project4_agent_api.accounts.authenticator import Authenticator, request_limit
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.invitations import Invitations
from project4_agent_api.accounts.login_throttle import LoginThrottle
from project4_agent_api.accounts.oauth.grants import OAuthGrants
from project4_agent_api.accounts.open_responses import OpenResponses
from project4_agent_api.accounts.principal_cache import PrincipalCache
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.accounts.sharing import SharedAccess, Sharing
from project4_agent_api.accounts.sign_ins import SignIns
from project4_agent_api.accounts.tokens import MCP_AUDIENCE, MCP_PREFIX, AccessTokens
from project4_agent_api.agents.grants import Grants
from project4_agent_api.agents.mcp import load_mcp_tools
from project4_agent_api.agents.services import Services
from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.caches import Caches, create_caches
from project4_agent_api.core.history import RedisHistory
from project4_agent_api.core.idempotency import Idempotency
from project4_agent_api.core.postgres import Pool, open_pool
from project4_agent_api.core.rate_limits import RateLimiter
from project4_agent_api.core.state import publish
from project4_agent_api.core.storage import StorageQuota, keep_adding_up_changes
from project4_agent_api.core.telemetry.collector import MetricsCollector, collecting
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import Tracing
from project4_agent_api.crons.firing import FiringRules, fire_crons
from project4_agent_api.events.publisher import Publisher
from project4_agent_api.events.subscriber import Subscriber
from project4_agent_api.graphs import langgraph_json
from project4_agent_api.graphs.checkpointer.encryption import check_key, create_serializer
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.langgraph_json import Project, find
from project4_agent_api.graphs.project_imports import ProjectImports
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.graphs.reloading import keep_reloading
from project4_agent_api.operations.retention import Retention
from project4_agent_api.operations.thread_ttl import keep_applying_default_ttl
from project4_agent_api.runs import webhooks
from project4_agent_api.runs.execution import ExecutionContext
from project4_agent_api.runs.graph_events import GraphEvents
from project4_agent_api.runs.queue_limit import QueueLimit, UserLimits
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.webhook_policy import WebhookPolicy
from project4_agent_api.runs.webhooks import WebhookCaller, Webhooks
from project4_agent_api.runs.worker import RunWorker
from project4_agent_api.settings import Settings
from project4_agent_api.store.project_index import NO_OPTIONS, StoreOptions, store_settings
from project4_agent_api.store.reindex import check_models
from project4_agent_api.store.service import SharedStore
from project4_agent_api.streams.protocol.frames import ProtocolEvents
from project4_agent_api.threads.service import Threads
from project4_agent_api.threads.state import ThreadStates
from shared.background import background_task
from shared.database.engine import Sessions
from shared.health import Check, Checks
from shared.jobs.queue import add_tasks, run_worker
from shared.models.chat import create_chat_models
from shared.redis.client import RedisClient, create_redis, open_redis
from shared.shutdown import Shutdown

if TYPE_CHECKING:
    from project4_agent_api.events.xray import XrayOfRuns

# Documents are read by a worker, which is a process of its own in this stage.
EARLIER_RESOURCES = [resource for resource in stage3.RESOURCES if resource is not stage3.worker]
_SILENT_LEASES = 2  # a dead worker is noticed within one lease; the worker that takes its run over publishes events


BlockingRedis = NewType("BlockingRedis", RedisClient)  # its connections wait for messages without a time limit


@dataclass(frozen=True, kw_only=True)
class EarlierState:
    """The part of `app.state` that the resources of stages 1 to 3 have set."""

    settings: Settings
    checks: Checks
    stopping: Shutdown
    model_http: httpx2.AsyncClient
    orm_pool: QueuePool
    sessions: Sessions
    jobs: JobApp
    job_pool: AsyncConnectionPool[Any]
    embeddings: Embeddings
    document_answerer: DocumentAnswerer
    user_hooks: UserHooks

    @classmethod
    def of(cls, app: FastAPI) -> "EarlierState":
        """Read it, once the resources are open."""
        state = app.state
        return cls(
            settings=state.settings,
            checks=state.checks,
            stopping=state.shutdown,
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


async def check_stored_data(settings: Settings) -> None:
    """Check at startup that the stored data fit the models and the key of the settings.

    Raises:
        ConfigurationError: with one line that explains what to do.
    """
    await check_models(settings)
    await check_key(settings)


LoadGraphs = Callable[[Settings, Services], Awaitable[Graphs]]


def load_project(settings: Settings) -> Project | None:
    """Read the `langgraph.json` that is configured, or is in the working folder.

    Raises:
        ConfigurationError: with one line that names the key and its fault.
    """
    path = langgraph_json.find(settings.langgraph_config)
    project = langgraph_json.read(path) if path else None
    if project and settings.production:
        project.require_storage_here()
    return project


def graphs_of(project: Project | None) -> LoadGraphs:
    """Load the built-in graphs and those of a project."""

    async def load(_: Settings, services: Services) -> Graphs:
        return await Graphs.load(project, services)

    return load


def offers_oauth(settings: Settings, project_auth: ProjectAuth | None) -> bool:
    """Return whether programs may sign in through a browser. It needs accounts."""
    return settings.oauth_enabled and settings.auth_required and project_auth is None


@asynccontextmanager
async def open_api(
    app: FastAPI,
    *,
    metrics: Metrics,
    tracing: Tracing,
    graphs: LoadGraphs,
    project: Project | None = None,
    project_auth: ProjectAuth | None = None,
) -> AsyncIterator[None]:
    """Open the resources of an API process."""
    earlier = EarlierState.of(app)
    settings = earlier.settings
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_redis(settings, earlier.checks))
        if xray := _xray_of(app):
            tracing = xray.tracing
        rate_limits, principals = RateLimiter(client), PrincipalCache(client)
        common = await _open_common(earlier, stack, client, metrics, tracing, graphs, project, project_auth)
        collector = MetricsCollector(
            checks=earlier.checks,
            pools={"runs": common.pool, "jobs": earlier.job_pool},
            orm_pool=earlier.orm_pool,
            caches={**common.caches.counters, "accounts": principals.counters},
            limits=rate_limits,
            queue=common.pool,
            user_runs=settings.user_runs_running_max,
        )
        await stack.enter_async_context(collecting(collector, metrics))
        if xray:
            await stack.enter_async_context(xray.receiving(common.subscriber))
        secret, minutes = settings.jwt_secret.get_secret_value(), settings.access_token_minutes
        tokens = AccessTokens(secret, minutes)
        mcp_tokens = AccessTokens(secret, minutes, MCP_AUDIENCE, MCP_PREFIX)
        state = ApiState(
            **vars(common),
            collector=collector,
            access_tokens=tokens,
            principals=principals,
            sign_ins=SignIns(earlier.sessions, tokens, settings.refresh_token_days, principals.invalidate),
            invitations=Invitations(tokens, settings.registration),
            login_throttle=LoginThrottle(
                rate_limits, failures=settings.sign_in_failures, per_minute=settings.sign_ins_per_minute
            ),
            authenticator=Authenticator(
                auth_required=settings.auth_required,
                per_user=request_limit("user", settings),
                per_address=request_limit("address", settings),
                pool=common.pool,
                tokens=tokens,
                principals=principals,
                rate_limiter=rate_limits,
                project_auth=project_auth,
                mcp_tokens=mcp_tokens if offers_oauth(settings, project_auth) else None,
            ),
            open_responses=OpenResponses(common.pool),
            idempotency=Idempotency(common.pool, settings.lease_seconds),
            sharing=Sharing(common.pool),
            oauth_grants=OAuthGrants(
                earlier.sessions,
                mcp_tokens,
                settings.refresh_token_days,
                settings.user_api_keys_max,
                principals.invalidate,
                settings.public_url,
                settings.oauth_redirect_schemes,
            ),
        )
        await stack.enter_async_context(state.open_responses.checking())
        publish(app, state)
        earlier.user_hooks.on_user_changed.append(principals.invalidate)
        earlier.user_hooks.on_user_deleted.append(state.account_data.before_user_deletion)
        # These replace the in-memory history of stage 1 and the uncached answers of stage 3.
        app.state.history, app.state.document_answerer = state.history, state.caches.document_answerer
        app.state.document_access = SharedAccess(state.pool)
        app.state.upload_checks.append(state.quota.require_in_session)
        yield


@asynccontextmanager
async def open_worker(
    app: FastAPI, *, metrics: Metrics, tracing: Tracing, project: Project | None = None
) -> AsyncIterator[None]:
    """Open the resources of a worker, and start its work: runs, documents, webhooks and the retention of old data."""
    earlier = EarlierState.of(app)
    settings = earlier.settings
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_redis(settings, earlier.checks))
        if xray := _xray_of(app):
            tracing = xray.tracing
            await stack.enter_async_context(xray.publishing(client))
        project_auth = ProjectAuth.load(project, production=settings.production) if project else None
        graphs = graphs_of(project)
        common = await _open_common(earlier, stack, client, metrics, tracing, graphs, project, project_auth)
        collector = MetricsCollector(
            checks=earlier.checks,
            pools={"runs": common.pool, "jobs": earlier.job_pool},
            orm_pool=earlier.orm_pool,
            caches=common.caches.counters,
        )
        await stack.enter_async_context(collecting(collector, metrics))
        publish(app, WorkerState(**vars(common), collector=collector))
        add_tasks(earlier.jobs, deletion.TASKS)
        await stack.enter_async_context(stage3.worker(app, account_data=common.account_data))
        caller = WebhookCaller.from_settings(settings, common.pool, metrics, common.webhooks.policy)
        await stack.enter_async_context(
            run_worker(earlier.jobs, {"webhooks": caller}, webhooks.CONCURRENCY, webhooks.QUEUE)
        )
        await stack.enter_async_context(background_task(keep_adding_up_changes(common.pool)))
        retention = Retention(settings, common.pool, earlier.sessions, earlier.jobs, common.checkpoints)
        await stack.enter_async_context(background_task(retention.keep_sweeping()))
        if project and (ttl := project.file.checkpointer.ttl):
            applying = keep_applying_default_ttl(common.pool, ttl, settings.sweep_seconds)
            await stack.enter_async_context(background_task(applying))
        await _work_on_runs(common, stack, earlier.checks)
        yield


def _xray_of(app: FastAPI) -> "XrayOfRuns | None":
    """Return the X-ray's part in runs, if the X-ray is enabled."""
    if app.state.xray is None:
        return None
    from project4_agent_api.events.xray import XrayOfRuns  # noqa: PLC0415  imports OpenTelemetry's SDK on demand

    return XrayOfRuns(app.state.xray)


async def _open_common(
    earlier: EarlierState,
    stack: AsyncExitStack,
    client: RedisClient,
    metrics: Metrics,
    tracing: Tracing,
    load: LoadGraphs,
    project: Project | None,
    project_auth: ProjectAuth | None,
) -> AppState:
    settings = earlier.settings
    pool = await stack.enter_async_context(open_pool(settings, earlier.checks))
    history = RedisHistory(client, settings.history_size)
    steps = replace(earlier.document_answerer.steps, access=SharedAccess(pool))
    answerer = replace(earlier.document_answerer, steps=steps)
    caches = create_caches(settings, client, pool, earlier.embeddings, answerer)
    services = Services(
        settings=settings,
        chat_models=create_chat_models(settings, earlier.model_http),
        steps=caches.document_answerer.steps,
        web=WebPages(settings.fetch_timeout_seconds, settings.fetch_max_kb * 1024),
        grants=Grants(pool),
        mcp_tools=await load_mcp_tools(settings.mcp_servers),
    )
    graphs = await load(settings, services)
    if settings.reload_graphs and (config := find(settings.langgraph_config)):
        reloading = keep_reloading(graphs, config, ProjectImports.of(config.parent), services)
        await stack.enter_async_context(background_task(reloading))
    assistants = Assistants({name: graphs.description(name) for name in graphs.names()})
    checkpoints = CheckpointSaver(pool, serde=create_serializer(settings.langgraph_aes_key.get_secret_value()))
    quota = StorageQuota(settings.user_storage_mb * MIB)
    shared = bool(project_auth and project_auth.shares_store)
    options = StoreOptions.load(project) if project else NO_OPTIONS
    vectors = store_settings(settings) if options.embeddings else settings
    embeddings = options.embeddings or caches.embeddings
    store = SharedStore(pool, vectors, embeddings, shared=shared, quota=quota, options=options)
    blocking_client = BlockingRedis(create_redis(settings, response_timeout=None))
    stack.push_async_callback(blocking_client.aclose)
    subscriber = Subscriber(blocking_client)
    await stack.enter_async_context(subscriber.running())
    add_tasks(earlier.jobs, webhooks.TASKS, webhooks.QUEUE)
    senders = Webhooks(earlier.jobs, WebhookPolicy.load(project))
    kept = settings.run_events_seconds
    threads = Threads(pool, ThreadStates(pool, checkpoints, graphs, store, client, quota), client, kept, quota)
    runs = Runs(
        pool=pool,
        redis=client,
        subscriber=subscriber,
        assistants=assistants,
        kept_seconds=kept,
        idle_timeout=_SILENT_LEASES * settings.lease_seconds,
        webhooks=senders,
        shutdown=earlier.stopping,
        limit=QueueLimit(
            total=settings.runs_waiting_max,
            user=UserLimits(
                waiting=settings.user_runs_waiting_max,
                deferred=settings.user_runs_deferred_max,
                overflow=settings.user_runs_running_max,
                storage=quota,
                webhooks=settings.user_webhooks_max,
            ),
        ),
        metrics=metrics,
        tracing=tracing,
    )
    assistants.delete_threads, assistants.on_deleted = threads.delete_of_assistant, runs.stop_runs_of_assistant
    return AppState(
        settings=settings,
        metrics=metrics,
        tracing=tracing,
        sessions=earlier.sessions,
        jobs=earlier.jobs,
        redis=client,
        blocking_redis=blocking_client,
        pool=pool,
        caches=caches,
        graphs=graphs,
        assistants=assistants,
        checkpoints=checkpoints,
        store=store,
        subscriber=subscriber,
        webhooks=senders,
        threads=threads,
        runs=runs,
        history=history,
        quota=quota,
        account_data=AccountData(earlier.sessions, threads, earlier.jobs, history),
    )


def _firing_rules(state: AppState) -> FiringRules:
    limiter, limit = RateLimiter(state.redis), request_limit("user", state.settings)
    return FiringRules(
        shortest_seconds=state.settings.cron_interval_seconds,
        count=lambda owner_id: limiter.count(limit, str(owner_id)),
    )


async def _work_on_runs(state: AppState, stack: AsyncExitStack, checks: Checks) -> None:
    settings = state.settings
    publisher = Publisher(
        state.redis,
        kept_seconds=settings.run_events_seconds,
        idle_kept_seconds=int(settings.run_timeout_seconds) + settings.run_events_seconds,
        max_stream_bytes=settings.run_events_kb * 1024,
        max_owner_bytes=settings.user_events_mb * MIB,
    )
    worker = RunWorker(
        settings,
        state.runs,
        blocking_redis=state.blocking_redis,
        context=ExecutionContext(
            graphs=state.graphs,
            checkpoints=CheckpointSaver(
                state.pool, serde=state.checkpoints.serde, retry_seconds=settings.lease_seconds
            ),
            store=state.store,
            publisher=publisher,
            encoders={"default": GraphEvents, "protocol": ProtocolEvents},
            timeout_seconds=settings.run_timeout_seconds,
            drain_seconds=settings.shutdown_timeout_seconds,
            metrics=state.metrics,
            tracing=state.tracing,
            pool=state.pool,
            quota=state.quota,
        ),
        fire_crons=partial(fire_crons, rules=_firing_rules(state)),
    )
    checks.append(Check("runs", worker.can_claim, failure="idle"))
    await stack.enter_async_context(publisher.running())
    await stack.enter_async_context(worker.running())
