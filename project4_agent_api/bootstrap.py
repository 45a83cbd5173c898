"""What stage 4's processes open at their start, in the order in which one needs the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from project3_rag_docs.answers.chain import Steps
from project4_agent_api.agents.mcp import load_mcp_tools
from project4_agent_api.agents.services import Services
from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.events.events import Publisher, Subscriber
from project4_agent_api.graphs.checkpointer import Checkpoints
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.runs.execution import Engine
from project4_agent_api.runs.queue_limit import Limits
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.webhooks import CONCURRENCY, QUEUE, TASKS, WebhookCaller, Webhooks
from project4_agent_api.runs.worker import RunWorker
from project4_agent_api.settings import Settings
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads.service import Threads
from shared.health import Check
from shared.jobs.queue import add_tasks, working
from shared.models.chat import create_chat_models
from shared.redis.client import create_redis

_SILENT_LEASES = 2  # within one it is noticed that a worker died; whoever takes its run over says so


@asynccontextmanager
async def graphs(app: FastAPI) -> AsyncIterator[None]:
    """Load the graphs, and open where they keep what they know."""
    settings: Settings = app.state.settings
    state = app.state
    services = Services(
        settings=settings,
        chat_models=create_chat_models(settings, state.model_http),
        steps=Steps(state.searcher, state.reranker, state.chat_model, settings.context_tokens),
        web=WebPages(settings.fetch_timeout_seconds, settings.fetch_max_kb * 1024),
        mcp_tools=await load_mcp_tools(settings.mcp_servers),
    )
    state.graphs = await Graphs.load(settings.langgraph_config, services)
    state.assistants = Assistants({name: state.graphs.description(name) for name in state.graphs.names()})
    state.checkpoints = Checkpoints(state.pool)
    state.store = SharedStore(state.pool, settings, state.embeddings)
    yield


@asynccontextmanager
async def channels(app: FastAPI) -> AsyncIterator[None]:
    """Hear what is said through Redis."""
    client = create_redis(app.state.settings, answer_seconds=None)
    app.state.waiting_redis = client
    app.state.subscriber = Subscriber(client)
    try:
        async with app.state.subscriber.running():
            yield
    finally:
        await client.aclose()


@asynccontextmanager
async def webhooks(app: FastAPI) -> AsyncIterator[None]:
    """Let others be told that a run is over."""
    add_tasks(app.state.jobs, TASKS, QUEUE)
    app.state.webhooks = Webhooks(app.state.jobs)
    yield


@asynccontextmanager
async def webhook_worker(app: FastAPI) -> AsyncIterator[None]:
    """Tell them, from this process."""
    context = {"webhooks": WebhookCaller.of(app.state.settings, app.state.pool, app.state.metrics)}
    async with working(app.state.jobs, context, CONCURRENCY, QUEUE):
        yield


@asynccontextmanager
async def runs(app: FastAPI) -> AsyncIterator[None]:
    """Put threads and their runs on `app.state`."""
    state = app.state
    kept = state.settings.run_events_seconds
    state.threads = Threads(state.pool, state.checkpoints, state.graphs, state.store, state.redis, kept)
    state.runs = Runs(
        pool=state.pool,
        redis=state.redis,
        subscriber=state.subscriber,
        assistants=state.assistants,
        kept_seconds=kept,
        patience=_SILENT_LEASES * state.settings.lease_seconds,
        webhooks=state.webhooks,
        stopping=state.stopping,
        limits=Limits(
            waiting=state.settings.runs_waiting_max,
            user_waiting=state.settings.user_runs_waiting_max,
        ),
        metrics=state.metrics,
        tracing=state.tracing,
    )
    yield


@asynccontextmanager
async def run_worker(app: FastAPI) -> AsyncIterator[None]:
    """Execute runs in this process."""
    settings: Settings = app.state.settings
    state = app.state
    publisher = Publisher(
        state.redis,
        kept_seconds=settings.run_events_seconds,
        longest_seconds=int(settings.run_timeout_seconds) + settings.run_events_seconds,
        most_bytes=settings.run_events_kb * 1024,
    )
    worker = RunWorker(
        settings,
        pool=state.pool,
        redis=state.redis,
        waiting_redis=state.waiting_redis,
        subscriber=state.subscriber,
        engine=Engine(
            state.graphs,
            Checkpoints(state.pool, patience=settings.lease_seconds),
            state.store,
            publisher,
            settings.run_timeout_seconds,
            settings.shutdown_timeout_seconds,
            state.metrics,
            state.tracing,
        ),
        runs=state.runs,
        webhooks=state.webhooks,
        metrics=state.metrics,
    )
    state.checks.append(Check("runs", worker.can_claim, failure="idle"))
    async with publisher.running(), worker.working():
        yield
