"""The built-in graphs, in front of the scripted model; their threads and memories are LangGraph's own, in memory."""

import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core._api import LangChainBetaWarning
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Interrupt

from project3_rag_docs.answers.chain import Steps
from project3_rag_docs.search.embedding import create_embedding_model
from project3_rag_docs.search.rerank import PassthroughReranker
from project3_rag_docs.search.service import Searcher
from project4_agent_api.agents.grants import Grants
from project4_agent_api.agents.services import Services
from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.core.postgres import create_pool
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.settings import Settings
from shared.database.engine import create_engine, create_session_factory
from shared.models.chat import create_chat_model, create_chat_models
from shared.models.client import create_http_client
from shared.owner import LOCAL_OWNER_ID
from tests.support.scripted_model import ScriptedModel

MakeSettings = Callable[..., Settings]
Given = dict[str, Any] | Command[Any] | None
MakeServices = Callable[..., AbstractAsyncContextManager[Services]]


@pytest.fixture
def agent_settings(model: ScriptedModel) -> MakeSettings:
    """Makes settings, pointed at the scripted model; the database is there if a test says where."""

    def make(**changes: Any) -> Settings:
        fixed: dict[str, Any] = {
            "app_env": "test",
            "openai_base_url": model.base_url,
            "llm_model": "m",
            "llm_max_retries": 0,
            "llm_timeout_seconds": 5,
            "embedding_model": "e",
            "database_url": "postgresql://127.0.0.1:1/none",
            "redis_url": "redis://127.0.0.1:1",
            "jwt_secret": "a secret of the tests, with more than 32 bytes",
        }
        return Settings(**(fixed | changes))

    return make


@pytest.fixture
def make_services(agent_settings: MakeSettings) -> MakeServices:
    """Makes what graphs need, as a process does, with changed settings."""

    @asynccontextmanager
    async def make(
        web: WebPages | None = None, mcp_tools: tuple[BaseTool, ...] = (), **changes: Any
    ) -> AsyncIterator[Services]:
        settings = agent_settings(**changes)
        http = create_http_client(settings)
        engine = create_engine(settings)
        searcher = Searcher(
            create_session_factory(engine),
            create_embedding_model(settings, http),
            settings.embedding_model,
            settings.embedding_dimensions,
            settings.query_prefix(),
        )
        model, min_score = create_chat_model(settings, http), changes.get("answer_min_score", 0.0)
        steps = Steps(searcher, PassthroughReranker(), model, settings.context_tokens, min_score)
        pool = create_pool(settings)
        if "database_url" in changes:
            await pool.open()
        models, web_pages = create_chat_models(settings, http), web or WebPages(5, 65536)
        try:
            yield Services(settings, models, steps, web_pages, Grants(pool), mcp_tools)
        finally:
            await pool.close()
            await http.aclose()
            await engine.dispose()

    return make


@dataclass
class Conversation:
    """Talks to a graph in one thread.

    Attributes:
        graphs: The loaded graphs.
        name: The graph's name.
        owner_id: Owner of the thread.
        store: The memory of that user.
    """

    graphs: Graphs
    name: str = "agent"
    owner_id: UUID = LOCAL_OWNER_ID
    store: BaseStore = field(default_factory=InMemoryStore)
    saver: InMemorySaver = field(default_factory=InMemorySaver)
    thread_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def config(self) -> RunnableConfig:
        """The configuration of a new run."""
        configurable = {"thread_id": self.thread_id, "langgraph_auth_user_id": str(self.owner_id)}
        return {"configurable": configurable, "metadata": {"run_id": str(uuid4())}}

    def copy(self) -> "Conversation":
        """Copy the thread with its checkpoints."""
        copy = replace(self, thread_id=str(uuid4()))
        self.saver.storage[copy.thread_id] = deepcopy(self.saver.storage[self.thread_id])
        for stored in (self.saver.writes, self.saver.blobs):
            values: dict[Any, Any] = stored
            own = {key: value for key, value in values.items() if key[0] == self.thread_id}
            values |= {(copy.thread_id, *key[1:]): value for key, value in deepcopy(own).items()}
        return copy

    async def run(
        self,
        given: Given,
        checkpoint: RunnableConfig | None = None,
        *,
        recursion_limit: int = 100,
        **options: Any,
    ) -> dict[str, Any]:
        """Run the graph, from the newest or another checkpoint, and return its result."""
        config = self.config | RunnableConfig(recursion_limit=recursion_limit)
        config["configurable"] |= checkpoint["configurable"] if checkpoint else {}
        async with self.graphs.open(self.name, config, checkpointer=self.saver, store=self.store) as graph:
            result: dict[str, Any] = await graph.ainvoke(given, config, **options)
            return result

    async def update(
        self, values: dict[str, Any], checkpoint: RunnableConfig | None = None, as_node: str | None = None
    ) -> RunnableConfig:
        """Write the state of the newest or another checkpoint; return the new one."""
        config = checkpoint or self.config
        async with self.graphs.open(self.name, self.config, checkpointer=self.saver, store=self.store) as graph:
            return await graph.aupdate_state(config, values, as_node)

    async def checkpoints(self, before: str | None = None) -> list[RunnableConfig]:
        """Return the thread's checkpoints, or those after which a node runs, newest first."""
        async with self.graphs.open(self.name, self.config, checkpointer=self.saver, store=self.store) as graph:
            history = graph.aget_state_history(self.config)
            return [state.config async for state in history if before is None or before in state.next]

    async def interrupts(self) -> Sequence[Interrupt]:
        """Return the questions that wait for an answer."""
        async with self.graphs.open(self.name, self.config, checkpointer=self.saver, store=self.store) as graph:
            return (await graph.aget_state(self.config)).interrupts

    async def stream(self, given: Given) -> list[tuple[AnyMessage, dict[str, Any]]]:
        """Run the graph and give the messages that are streamed."""
        async with self.graphs.open(self.name, self.config, checkpointer=self.saver, store=self.store) as graph:
            pieces: list[Any] = [piece async for piece in graph.astream(given, self.config, stream_mode="messages")]
            return pieces

    async def events(self, given: Given) -> list[dict[str, Any]]:
        """Run the graph and give the messages that are streamed, as events."""
        async with self.graphs.open(self.name, self.config, checkpointer=self.saver, store=self.store) as graph:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LangChainBetaWarning)  # it is what the newer clients speak
                stream: Any = await graph.astream_events(given, self.config, version="v3")
                events = [event async for event in stream]
        return [event["params"]["data"][0] for event in events if event["method"] == "messages"]

    async def say(self, text: str) -> list[AnyMessage]:
        """Send a message; return the messages since."""
        messages: list[AnyMessage] = (await self.run(asked(text)))["messages"]
        said = max(place for place, message in enumerate(messages) if message.text == text)
        return messages[said + 1 :]

    async def decide(self, *decisions: dict[str, Any]) -> dict[str, Any]:
        """Answer what the run asked a person."""
        return await self.run(Command(resume={"decisions": list(decisions)}))

    async def messages(self) -> list[AnyMessage]:
        """Give the thread."""
        async with self.graphs.open(self.name, self.config, checkpointer=self.saver, store=self.store) as graph:
            messages: list[AnyMessage] = (await graph.aget_state(self.config)).values.get("messages", [])
            return messages


def asked(text: str) -> dict[str, Any]:
    """Give the input of a run."""
    return {"messages": [{"role": "user", "content": text}]}


def last(messages: list[AnyMessage]) -> str:
    """Give the words that a run ended in."""
    assert isinstance(messages[-1], AIMessage)
    assert not messages[-1].tool_calls
    return messages[-1].text


@pytest.fixture
def talk(make_services: MakeServices) -> Callable[..., AbstractAsyncContextManager[Conversation]]:
    """Begins a conversation, with changed settings."""

    @asynccontextmanager
    async def begin(
        name: str = "agent", *, store: BaseStore | None = None, path: Path | None = None, **changes: Any
    ) -> AsyncIterator[Conversation]:
        async with make_services(**changes) as services:
            yield Conversation(await Graphs.load(path, services), name, store=store or InMemoryStore())

    return begin


Talk = Callable[..., AbstractAsyncContextManager[Conversation]]
