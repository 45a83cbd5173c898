"""The parts of stage 4 that serve LangGraph's assistants, store and crons, put together without the rest.

The header `X-Owner` names the caller: accounts are tested elsewhere.
"""

import operator
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, cast
from uuid import UUID

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError
from typing_extensions import TypedDict

from project4_agent_api import bootstrap
from project4_agent_api.agents.services import Services
from project4_agent_api.assistants import routes as assistants
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import NoTracing
from project4_agent_api.crons import routes as crons
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.operations import routes as system
from project4_agent_api.settings import Settings
from project4_agent_api.store import routes as store
from project4_agent_api.store.service import OwnedStore
from shared.app import build_app

ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)


class Walk(TypedDict, total=False):
    trail: Annotated[list[str], operator.add]


class Setting(TypedDict, total=False):
    colour: str


def _step(name: str) -> Any:  # noqa: ANN401  LangGraph's types want to know the state's
    return lambda _: {"trail": [name]}


echo = StateGraph(MessagesState).add_node("reply", lambda state: state).add_edge(START, "reply").compile()
_inner = StateGraph(Walk).add_node("bottom", _step("bottom")).add_edge(START, "bottom").compile()
_middle = StateGraph(Walk).add_sequence([("down", _step("down")), ("inner", _inner)]).add_edge(START, "down").compile()
nested = StateGraph(Walk).add_sequence([("begin", _step("begin")), ("middle", _middle)]).add_edge(START, "begin")
coloured = StateGraph(Walk, context_schema=Setting).add_node("look", _step("look")).add_edge(START, "look").compile()


class RealGraphs:
    """Compiled graphs, by name; `shaped` is made from the configuration."""

    def names(self) -> list[str]:
        return ["echo", "nested", "coloured", "shaped"]

    def description(self, name: str) -> str | None:
        return "Says it again." if name == "echo" else None

    @asynccontextmanager
    async def open(
        self, name: str, config: dict[str, Any], *, checkpointer: object, store: object, access_context: str
    ) -> AsyncIterator[Any]:
        assert (checkpointer, access_context) == (None, "assistants.read")
        assert isinstance(store, OwnedStore)
        assert config["configurable"]["langgraph_auth_user_id"] == store.owner_id
        if name == "shaped":
            shape = config.get("configurable", {}).get("shape", "round")
            assert shape != "impossible"
            yield StateGraph(Walk).add_node(shape, _step(shape)).add_edge(START, shape).compile()
        else:
            yield {"echo": echo, "nested": nested.compile(), "coloured": coloured}[name]


async def load_graphs(_: Services) -> Graphs:
    return cast("Graphs", RealGraphs())


async def by_header(request: Request) -> None:
    request.state.owner_id = UUID(request.headers.get("X-Owner", str(ALICE)))


def create_parts(settings: Settings) -> FastAPI:
    locked = APIRouter(dependencies=[Depends(by_header)])
    for router in (assistants.router, store.router, crons.router):
        locked.include_router(router)
    return build_app(
        settings,
        title="Parts",
        description="Parts of stage 4.",
        routers=[system.router, locked],
        resources=[
            *bootstrap.EARLIER_RESOURCES,
            partial(bootstrap.open_api, metrics=Metrics(), tracing=NoTracing(), load_graphs=load_graphs),
        ],
        panels=[],
    )


def client_of(url: str, owner_id: UUID) -> httpx2.AsyncClient:
    headers = {"X-Owner": str(owner_id)}
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False)


def sdk_of(url: str, owner_id: UUID) -> LangGraphClient:
    return get_client(url=url, api_key=None, headers={"X-Owner": str(owner_id)})


async def status_of(call: Coroutine[Any, Any, object]) -> int:
    """Return the status with which a call of LangGraph's client is rejected."""
    with pytest.raises(APIStatusError) as caught:
        await call
    return caught.value.status_code
