"""The composition root: everything that an API process and a worker open, in order.

`open_api` and `open_worker` are the resources of `main.py` and `worker.py`. Each ends with one frozen state, from which
routes take the parts that they need (`app_state.py`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project3_rag_docs.settings import MIB
from project4_agent_api.accounts import deletion
from project4_agent_api.accounts.authenticator import Authenticator, request_limit
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.invitations import Invitations
from project4_agent_api.accounts.login_throttle import LoginThrottle
from project4_agent_api.accounts.oauth.client_documents import ClientDocuments
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
from project4_agent_api.app_state import ApiState, AppState, BlockingRedis, EarlierState, WorkerState
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
from project4_agent_api.graphs.langgraph_json import Project
from project4_agent_api.graphs.project_imports import ProjectImports
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.graphs.reloading import keep_reloading
from project4_agent_api.operations.retention import Retention
from project4_agent_api.operations.thread_ttl import keep_applying_default_ttl
from project4_agent_api.runs import webhooks
from project4_agent_api.runs.execution import ExecutionContext
from project4_agent_api.runs.graph_events import GraphEvents
from project4_agent_api.runs.queue_limit import QueueLimit
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
from shared.health import Check, Checks
from shared.jobs.queue import add_tasks, run_worker
from shared.models.chat import create_chat_models
from shared.redis.client import create_redis, open_redis

if TYPE_CHECKING:
    from project4_agent_api.events.xray import XrayOfRuns

# Documents are read by a worker, which is a process of its own in this stage.
EARLIER_RESOURCES = [resource for resource in stage3.RESOURCES if resource is not stage3.worker]
_SILENT_LEASES = 2  # a dead worker is noticed within one lease; the worker that takes its run over publishes events

LoadGraphs = Callable[[Services], Awaitable[Graphs]]


async def check_stored_data(settings: Settings) -> None:
    """Check at startup that the stored data fit the models and the key of the settings.

    Raises:
        ConfigurationError: with one line that explains what to do.
    """
    await check_models(settings)
    await check_key(settings)


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


def offers_oauth(settings: Settings, project_auth: ProjectAuth | None) -> bool:
    """Return whether programs may sign in through a browser. It needs accounts."""
    return settings.oauth_enabled and settings.auth_required and project_auth is None


@asynccontextmanager
async def open_api(
    app: FastAPI,
    *,
    metrics: Metrics,
    tracing: Tracing,
    load_graphs: LoadGraphs | None = None,
    project: Project | None = None,
    project_auth: ProjectAuth | None = None,
) -> AsyncIterator[None]:
    """Open the resources of an API process.

    Args:
        load_graphs: Loads other graphs than the built-in ones and those of the project.
    """
    earlier = EarlierState.from_app(app)
    async with AsyncExitStack() as stack:
        xray = _xray_of(app)
        tracing = xray.tracing if xray else tracing
        common = await _open_common(earlier, stack, metrics, tracing, project, project_auth, load_graphs)
        if xray:
            await stack.enter_async_context(xray.receiving(common.subscriber))
        state = _create_api_state(earlier, common, project_auth)
        await stack.enter_async_context(collecting(state.collector, metrics))
        await stack.enter_async_context(state.open_responses.checking())
        publish(app, state)
        earlier.user_hooks.on_user_changed.append(state.principals.invalidate)
        earlier.user_hooks.on_user_deleted.append(state.account_data.before_user_deletion)
        # Replaces the in-memory history of stage 1 and the uncached answers of stage 3.
        app.state.history, app.state.document_answerer = state.history, state.caches.document_answerer
        app.state.document_access = SharedAccess(state.pool)
        app.state.upload_checks.append(state.quota.require_in_session)
        yield


@asynccontextmanager
async def open_worker(
    app: FastAPI, *, metrics: Metrics, tracing: Tracing, project: Project | None = None
) -> AsyncIterator[None]:
    """Open the resources of a worker, and start its work: runs, documents, webhooks and the retention of old data."""
    earlier = EarlierState.from_app(app)
    project_auth = ProjectAuth.load(project, production=earlier.settings.production) if project else None
    async with AsyncExitStack() as stack:
        xray = _xray_of(app)
        tracing = xray.tracing if xray else tracing
        common = await _open_common(earlier, stack, metrics, tracing, project, project_auth)
        if xray:
            await stack.enter_async_context(xray.publishing(common.redis))
        state = WorkerState(
            **vars(common),
            collector=MetricsCollector(
                checks=earlier.checks,
                pools={"runs": common.pool, "jobs": earlier.job_pool},
                orm_pool=earlier.orm_pool,
                caches=common.caches.counters,
            ),
        )
        await stack.enter_async_context(collecting(state.collector, metrics))
        publish(app, state)
        add_tasks(earlier.jobs, deletion.TASKS)
        await stack.enter_async_context(stage3.worker(app, account_data=state.account_data))
        await _call_webhooks(state, stack)
        await _delete_old_data(state, stack, project)
        await _work_on_runs(state, stack, earlier.checks)
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
    metrics: Metrics,
    tracing: Tracing,
    project: Project | None,
    project_auth: ProjectAuth | None,
    load_graphs: LoadGraphs | None = None,
) -> AppState:
    settings = earlier.settings
    redis = await stack.enter_async_context(open_redis(settings, earlier.checks))
    pool = await stack.enter_async_context(open_pool(settings, earlier.checks))
    steps = replace(earlier.document_answerer.steps, access=SharedAccess(pool))
    answerer = replace(earlier.document_answerer, steps=steps)
    caches = create_caches(settings, redis, pool, earlier.embeddings, answerer)
    services = await _create_services(earlier, pool, caches)
    graphs = await (load_graphs(services) if load_graphs else Graphs.load(project, services))
    if settings.reload_graphs and (config := langgraph_json.find(settings.langgraph_config)):
        reloading = keep_reloading(graphs, config, ProjectImports.for_folder(config.parent), services)
        await stack.enter_async_context(background_task(reloading))
    checkpoints = CheckpointSaver(pool, serde=create_serializer(settings.langgraph_aes_key.get_secret_value()))
    quota = StorageQuota(settings.user_storage_mb * MIB)
    store = _create_store(settings, pool, caches, quota, project, project_auth)
    blocking_redis = BlockingRedis(create_redis(settings, response_timeout=None))
    stack.push_async_callback(blocking_redis.aclose)
    subscriber = Subscriber(blocking_redis)
    await stack.enter_async_context(subscriber.running())
    add_tasks(earlier.jobs, webhooks.TASKS, webhooks.QUEUE)
    history = RedisHistory(redis, settings.history_size)
    states = ThreadStates(pool, checkpoints, graphs, store, redis, quota)
    threads = Threads(pool, states, redis, settings.run_events_seconds, quota)
    runs = Runs(
        pool=pool,
        redis=redis,
        subscriber=subscriber,
        assistants=Assistants({name: graphs.description(name) for name in graphs.names()}),
        kept_seconds=settings.run_events_seconds,
        idle_timeout=_SILENT_LEASES * settings.lease_seconds,
        webhooks=Webhooks(earlier.jobs, WebhookPolicy.load(project)),
        shutdown=earlier.shutdown,
        limit=QueueLimit.from_settings(settings, quota),
        metrics=metrics,
        tracing=tracing,
    )
    runs.assistants.delete_threads = threads.delete_of_assistant
    runs.assistants.on_deleted = runs.stop_runs_of_assistant
    return AppState(
        settings=settings,
        metrics=metrics,
        tracing=tracing,
        sessions=earlier.sessions,
        jobs=earlier.jobs,
        redis=redis,
        blocking_redis=blocking_redis,
        pool=pool,
        caches=caches,
        graphs=graphs,
        assistants=runs.assistants,
        checkpoints=checkpoints,
        store=store,
        subscriber=subscriber,
        webhooks=runs.webhooks,
        threads=threads,
        runs=runs,
        history=history,
        quota=quota,
        account_data=AccountData(earlier.sessions, threads, earlier.jobs, history),
    )


async def _create_services(earlier: EarlierState, pool: Pool, caches: Caches) -> Services:
    """Create what the built-in graphs and their tools use."""
    settings = earlier.settings
    return Services(
        settings=settings,
        chat_models=create_chat_models(settings, earlier.model_http),
        steps=caches.document_answerer.steps,
        web=WebPages(settings.fetch_timeout_seconds, settings.fetch_max_kb * 1024),
        grants=Grants(pool),
        mcp_tools=await load_mcp_tools(settings.mcp_servers),
    )


def _create_store(
    settings: Settings,
    pool: Pool,
    caches: Caches,
    quota: StorageQuota,
    project: Project | None,
    project_auth: ProjectAuth | None,
) -> SharedStore:
    options = StoreOptions.load(project) if project else NO_OPTIONS
    return SharedStore(
        pool,
        store_settings(settings) if options.embeddings else settings,
        options.embeddings or caches.embeddings,
        shared=bool(project_auth and project_auth.shares_store),
        quota=quota,
        options=options,
    )


def _create_api_state(earlier: EarlierState, common: AppState, project_auth: ProjectAuth | None) -> ApiState:
    settings = earlier.settings
    rate_limiter, principals = RateLimiter(common.redis), PrincipalCache(common.redis)
    secret, minutes = settings.jwt_secret.get_secret_value(), settings.access_token_minutes
    tokens = AccessTokens(secret, minutes)
    mcp_tokens = AccessTokens(secret, minutes, MCP_AUDIENCE, MCP_PREFIX)
    return ApiState(
        **vars(common),
        collector=MetricsCollector(
            checks=earlier.checks,
            pools={"runs": common.pool, "jobs": earlier.job_pool},
            orm_pool=earlier.orm_pool,
            caches={**common.caches.counters, "accounts": principals.counters},
            limits=rate_limiter,
            queue=common.pool,
            user_runs=settings.user_runs_running_max,
        ),
        access_tokens=tokens,
        principals=principals,
        sign_ins=SignIns(earlier.sessions, tokens, settings.refresh_token_days, principals.invalidate),
        invitations=Invitations(tokens, settings.registration),
        login_throttle=LoginThrottle.from_settings(settings, rate_limiter),
        authenticator=Authenticator(
            auth_required=settings.auth_required,
            per_user=request_limit("user", settings),
            per_address=request_limit("address", settings),
            pool=common.pool,
            tokens=tokens,
            principals=principals,
            rate_limiter=rate_limiter,
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
            ClientDocuments(earlier.sessions, settings.oauth_redirect_schemes),
            principals.invalidate,
            settings.public_url,
            settings.oauth_redirect_schemes,
        ),
    )


async def _call_webhooks(state: AppState, stack: AsyncExitStack) -> None:
    caller = WebhookCaller.from_settings(state.settings, state.pool, state.metrics, state.webhooks.policy)
    calls = run_worker(state.jobs, {"webhooks": caller}, webhooks.CONCURRENCY, webhooks.QUEUE)
    await stack.enter_async_context(calls)


async def _delete_old_data(state: AppState, stack: AsyncExitStack, project: Project | None) -> None:
    """Start the tasks that delete expired data, and the sums of stored bytes that need it."""
    await stack.enter_async_context(background_task(keep_adding_up_changes(state.pool)))
    retention = Retention(state.settings, state.pool, state.sessions, state.jobs, state.checkpoints)
    await stack.enter_async_context(background_task(retention.keep_sweeping()))
    if project and (ttl := project.file.checkpointer.ttl):
        applying = keep_applying_default_ttl(state.pool, ttl, state.settings.sweep_seconds)
        await stack.enter_async_context(background_task(applying))


async def _work_on_runs(state: AppState, stack: AsyncExitStack, checks: Checks) -> None:
    settings = state.settings
    publisher = Publisher.from_settings(settings, state.redis)
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


def _firing_rules(state: AppState) -> FiringRules:
    limiter, limit = RateLimiter(state.redis), request_limit("user", state.settings)
    return FiringRules(
        shortest_seconds=state.settings.cron_interval_seconds,
        count=lambda owner_id: limiter.count(limit, str(owner_id)),
    )
