"""Graphs that hold a conversation: one that echoes, and one whose model streams tokens and calls a tool."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolCallTransformer, ToolNode, tools_condition


def _reply(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"Echo: {state['messages'][-1].content}")]}


echo = StateGraph(MessagesState).add_node("reply", _reply).add_edge(START, "reply").compile()


@tool
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


class Rehearsed(BaseChatModel):
    """A model that says the same whenever it is asked: word by word, or by calling `add` where sums come up."""

    @property
    def _llm_type(self) -> str:
        return "rehearsed"

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            words = ["The ", "sum ", "is ", f"{last.content}."]
        elif "sum" in str(last.content):
            name = tool_call_chunk(name="add", args="", id="call-1", index=0)
            yield AIMessageChunk(content="", tool_call_chunks=[name])
            for part in ['{"a": 2, ', '"b": 3}']:
                yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=part, index=0)])
            return
        else:
            words = ["One ", "two ", "three."]
        for word in words:
            yield AIMessageChunk(content=word)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        assert stop is None
        for message in self._chunks(messages):
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(str(message.content), chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        assert stop is None
        for message in self._chunks(messages):
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                await run_manager.on_llm_new_token(str(message.content), chunk=chunk)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager))


async def _model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Rehearsed().ainvoke(state["messages"])]}


chat = (
    StateGraph(MessagesState)
    .add_node("model", _model)
    .add_node("tools", ToolNode([add]))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    .add_edge("tools", "model")
    .compile(transformers=[ToolCallTransformer])
)
