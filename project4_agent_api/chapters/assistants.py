"""Chapter 4.1: assistants and memory. `make run-project4 CHAPTER=assistants` runs it.

A registry holds the graphs, also those of a `langgraph.json`. An assistant is a graph with settings of its own, and a
row. The agent's memory is in PostgreSQL, found by meaning, and shown by `/store`. From here on the process is put
together by the stage's own `bootstrap.py`; only the routers of later chapters are missing.
"""

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

from fastapi import APIRouter, FastAPI
from langgraph.checkpoint.memory import InMemorySaver

from project3_rag_docs import main as stage3
from project4_agent_api import bootstrap
from project4_agent_api.accounts.deletion import AccountData
from project4_agent_api.accounts.guards import Authenticated, xray_access
from project4_agent_api.assistants import routes as assistants
from project4_agent_api.chapters import ChapterSettings, conversations
from project4_agent_api.chapters.accounts import PANELS, run_jobs
from project4_agent_api.chapters.agents import create_agent
from project4_agent_api.chapters.conversations import Conversations, Graph, add_conversations
from project4_agent_api.chapters.limits import EARLIER_ROUTERS
from project4_agent_api.core.idempotency import describe
from project4_agent_api.core.state import find
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import NoTracing
from project4_agent_api.store import routes as store
from project4_agent_api.store.service import SharedStore
from shared.app import Resource, build_app
from shared.frontend import Panel
from shared.serve import serve

ROUTERS = [*EARLIER_ROUTERS, Authenticated(assistants.router), Authenticated(store.router)]


def _resources() -> list[Resource]:
    """Return the resources that the process opens: those of the stage, with metrics for the last chapter."""
    open_api = partial(bootstrap.open_api, metrics=Metrics(), tracing=NoTracing())
    return [*bootstrap.EARLIER_RESOURCES, open_api]


@asynccontextmanager
async def open_conversations(app: FastAPI) -> AsyncIterator[None]:
    """Create conversations with stored memories. Checkpoints and approvals are rows of threads, the next chapter's."""
    agent, checkpoints = await create_agent(app), InMemorySaver()

    @asynccontextmanager
    async def open_graph(owner_id: UUID) -> AsyncIterator[Graph]:
        graph = copy.copy(agent)
        graph.checkpointer, graph.store = checkpoints, find(app, SharedStore).for_owner(owner_id)
        yield graph

    add_conversations(app, Conversations(open_graph))
    async with run_jobs(app, find(app, AccountData)):
        yield


def build_chapter(
    settings: ChapterSettings,
    title: str,
    description: str,
    *,
    routers: Sequence[APIRouter],
    resources: Sequence[Resource] = (),
    panels: Sequence[Panel] | None = None,
    body_limits: Mapping[str, int] | None = None,
) -> FastAPI:
    """Build the application of a chapter from this one on.

    Args:
        routers: Routers of this chapter and the ones before it.
        resources: Opened in addition to those of the stage.
        panels: Panels of the page; by default those of the accounts.
        body_limits: In addition to those of stage 3.
    """
    return build_app(
        settings,
        title=f"Project 4, chapter {title}",
        description=description,
        routers=routers,
        resources=[*_resources(), *resources],
        panels=panels if panels is not None else PANELS if settings.auth_required else stage3.PANELS,
        xray_access=xray_access(auth_required=settings.auth_required),
        body_limits={**stage3.body_limits(settings), **(body_limits or {})},
        extend_openapi=describe,
    )


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 3 with assistants and a store."""
    return build_chapter(
        settings,
        "4.1: assistants and memory",
        "Graphs with settings of their own, and long-term memory.",
        routers=[*ROUTERS, Authenticated(conversations.router)],
        resources=[open_conversations],
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
