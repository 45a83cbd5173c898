"""Conversations with an agent that runs within the request: the smallest service around a graph.

    POST /chat           a message, or decisions about tool calls ─► the whole answer
    POST /chat/stream    the same ─► `token` …, `tool` …, `done`

    request ─► Conversations ─► graph ─► model, tools
                                  └── checkpoints (the conversation), store (memories across conversations)

The limits of this, which the chapter `runs` removes: the answer is lost with the connection, a restart ends it, only
this process can serve the conversation, and a second message has to wait for the first.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from langchain_core.messages import AIMessageChunk, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import Command
from pydantic import BaseModel, Field, model_validator
from uuid_utils.compat import uuid7

from project4_agent_api.core.state import from_state
from shared.errors import MODEL_ERRORS, Conflict, ServiceError
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.schemas import NOT_BLANK, WITHOUT_NUL, RequestBody
from shared.streaming import cancel_on_disconnect, error_event, primed_stream, server_event

Graph = Pregel[Any, Any, Any, Any]


class Decision(RequestBody):
    """A person's decision about a tool call that waits for approval."""

    type: Literal["approve", "reject"]


class ChatRequest(RequestBody):
    """The next message of a conversation, or decisions about its tool calls."""

    thread_id: UUID = Field(default_factory=uuid7, strict=False, description="Default: a new conversation.")
    message: Annotated[str, Field(min_length=1, max_length=4000), NOT_BLANK, WITHOUT_NUL] | None = None
    decisions: list[Decision] | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.message is None) == (self.decisions is None):
            raise ValueError("give either `message` or `decisions`")
        return self

    def graph_input(self) -> object:
        """Return the input of the graph."""
        if self.decisions is None:
            return {"messages": [{"role": "user", "content": self.message}]}
        return Command(resume={"decisions": [decision.model_dump() for decision in self.decisions]})


class Token(BaseModel):
    """A piece of the model's text."""

    text: str


class ToolResult(BaseModel):
    """The result of a tool call."""

    name: str
    result: str


class ChatAnswer(BaseModel):
    """The end of an answer.

    Attributes:
        waiting: Tool calls that need a decision before the agent can continue.
    """

    thread_id: UUID
    answer: str
    waiting: list[dict[str, Any]]


ChatEvent = Token | ToolResult | ChatAnswer


@dataclass(frozen=True)
class Conversations:
    """The conversations of one process.

    Attributes:
        open_graph: Opens the agent for an owner, with the checkpoints of all conversations and the owner's memories.
    """

    open_graph: Callable[[UUID], AbstractAsyncContextManager[Graph]]
    _busy: set[str] = field(default_factory=set)

    async def stream(self, owner_id: UUID, request: ChatRequest) -> AsyncGenerator[ChatEvent]:
        """Run the agent; yield its events, the answer last.

        Raises:
            Conflict: if the conversation is answering already, or has no tool call that waits for a decision.
            MODEL_ERRORS: see `shared.errors`.
        """
        async with self.opened(owner_id, request.thread_id) as (graph, config):
            if request.decisions and not (await graph.aget_state(config)).interrupts:
                raise Conflict("No tool call of this conversation waits for a decision.")
            parts: AsyncIterator[Any] = graph.astream(request.graph_input(), config, stream_mode="messages")
            async for message, metadata in parts:
                match message:
                    case AIMessageChunk() if metadata["langgraph_node"] == "model" and message.text:
                        yield Token(text=message.text)
                    case ToolMessage():
                        yield ToolResult(name=message.name or "", result=message.text)
            state = await graph.aget_state(config)
            waiting = [action for asked in state.interrupts for action in asked.value["action_requests"]]
            yield ChatAnswer(
                thread_id=request.thread_id,
                answer="" if waiting else state.values["messages"][-1].text,
                waiting=waiting,
            )

    @asynccontextmanager
    async def opened(self, owner_id: UUID, thread_id: UUID) -> AsyncIterator[tuple[Graph, RunnableConfig]]:
        """Give the graph and the config of a conversation, which nobody else can use while the block runs.

        Raises:
            Conflict: if somebody does.
        """
        key = self.key(owner_id, thread_id)
        if key in self._busy:
            raise Conflict("The conversation is still answering the message before. Try again when it has.")
        config: RunnableConfig = {
            "configurable": {"thread_id": key, "langgraph_auth_user_id": str(owner_id)},
            "metadata": {"run_id": str(uuid7())},  # the agent's limits count by it
        }
        self._busy.add(key)
        try:
            async with self.open_graph(owner_id) as graph:
                yield graph, config
        finally:
            self._busy.discard(key)

    def key(self, owner_id: UUID, thread_id: UUID) -> str:
        """Return the name of a conversation. It contains the owner, so nobody reaches another's by its id."""
        return f"{owner_id}/{thread_id}"


def add_conversations(app: FastAPI, conversations: Conversations) -> None:
    """Add conversations to the state that `bootstrap.py` has published."""
    app.state.by_type = {**app.state.by_type, Conversations: conversations}


ConversationsDep = Annotated[Conversations, Depends(from_state(Conversations))]
router = APIRouter(prefix="/chat", tags=["chat"], responses=error_responses(Conflict, *MODEL_ERRORS))


@router.post("")
async def chat(
    body: ChatRequest, request: Request, owner_id: CurrentOwner, conversations: ConversationsDep
) -> ChatAnswer:
    """Send a message and wait for the whole answer."""
    async with cancel_on_disconnect(request):
        events = [event async for event in conversations.stream(owner_id, body)]
    answer = events[-1]
    assert isinstance(answer, ChatAnswer)  # noqa: S101  the last event of every stream
    return answer


async def open_stream(
    body: ChatRequest, request: Request, owner_id: CurrentOwner, conversations: ConversationsDep
) -> AsyncIterator[AsyncIterator[ChatEvent]]:
    """Start the answer, and wait for its first event: until then an error has a status of its own."""
    async with primed_stream(conversations.stream(owner_id, body), request) as events:
        yield events


_NAMES: dict[type[ChatEvent], str] = {Token: "token", ToolResult: "tool", ChatAnswer: "done"}


@router.post("/stream", response_class=EventSourceResponse)
async def chat_stream(
    events: Annotated[AsyncIterator[ChatEvent], Depends(open_stream)], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """Send a message and stream the answer: events `token`, `tool` and `done`, or `error` with a problem."""
    try:
        async for event in events:
            yield server_event(_NAMES[type(event)], event)
    except ServiceError as error:
        yield error_event(error, request)
