"""What a graph streams, as the events that LangGraph's clients expect.

The names and forms are those of LangGraph's own server: `values`, `updates`, `custom`, `tasks`, `checkpoints`, `debug`
and `events` as the graph gives them; `messages` with each message so far (`messages/partial`) or whole
(`messages/complete`); `messages-tuple` as an event `messages` with a chunk and its metadata. Of a subgraph, the name
ends with its namespace: `values|agent:1`.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, convert_to_messages, message_chunk_to_message
from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel

from project4_agent_api.threads.state import checkpoint_of

_HIDDEN = "langsmith:hidden"


class GraphEvents:
    """The events of one execution.

    Args:
        modes: The stream modes that were asked for.
        subgraphs: Whether those of subgraphs were.

    Attributes:
        values: The state after the last step, as the graph shows it; None if it has shown nothing.
    """

    def __init__(self, modes: Sequence[str], *, subgraphs: bool) -> None:
        self.values: Any = None
        self._modes = set(modes)
        self._subgraphs = subgraphs
        self._messages: dict[str | None, BaseMessage] = {}

    async def of(
        self, graph: Pregel[Any, Any, Any, Any], input_: object, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[str, object]]:
        """Execute a graph, and give its events: names and data."""
        native = (self._modes - {"events", "messages-tuple"}) | {"values"}
        if "messages-tuple" in self._modes:
            native.add("messages")
        options |= {"stream_mode": sorted(native), "output_keys": graph.output_channels, "subgraphs": self._subgraphs}
        if "events" in self._modes:
            async for event in self._with_events(graph, input_, config, options):
                yield event
            return
        stream = cast("AsyncGenerator[Any]", graph.astream(cast("Any", input_), config, **options))
        async with aclosing(stream):
            async for piece in stream:
                for event in self._of_piece(piece):
                    yield event

    async def _with_events(
        self, graph: Pregel[Any, Any, Any, Any], input_: object, config: RunnableConfig, options: dict[str, Any]
    ) -> AsyncGenerator[tuple[str, object]]:
        """Give LangChain's events of all that the graph calls, and between them what the graph itself streams."""
        run_id: str | None = None
        stream = cast("AsyncGenerator[Any]", graph.astream_events(cast("Any", input_), config, version="v2", **options))
        async with aclosing(stream):
            async for event in stream:
                if _HIDDEN in event.get("tags", ()):
                    continue
                run_id = run_id or event["run_id"]  # the graph's own is the first to begin
                if event["event"] == "on_chain_stream" and event["run_id"] == run_id:
                    for own in self._of_piece(event["data"]["chunk"]):
                        yield own
                else:
                    yield "events", event

    def _of_piece(self, piece: tuple[Any, ...]) -> list[tuple[str, object]]:
        namespace, mode, data = piece if self._subgraphs else ((), *piece)
        suffix = "".join(f"|{part}" for part in namespace)
        if mode == "messages":
            if "messages-tuple" in self._modes:
                return [(f"messages{suffix}", data)]
            return self._of_message(*data)
        if mode == "values" and not namespace:
            self.values = data
        if mode == "debug" and data["type"] == "checkpoint":
            data = data | {"payload": _with_checkpoints(data["payload"])}
        if mode == "checkpoints":
            data = _with_checkpoints(data)
        interrupted = mode == "values" and isinstance(data, dict) and "__interrupt__" in data
        if mode in self._modes or (interrupted and "updates" not in self._modes):
            return [(f"{mode}{suffix}", data)]
        return []

    def _of_message(self, given: BaseMessage | dict[str, Any], metadata: dict[str, Any]) -> list[tuple[str, object]]:
        message = given if isinstance(given, BaseMessage) else convert_to_messages([given])[0]
        events: list[tuple[str, object]] = []
        known = self._messages.get(message.id)
        if known is None:
            events.append(("messages/metadata", {message.id: {"metadata": metadata}}))
        if isinstance(known, BaseMessageChunk) and isinstance(message, BaseMessageChunk):
            message = cast("BaseMessage", known + message)
        self._messages[message.id] = message
        if isinstance(message, BaseMessageChunk):
            events.append(("messages/partial", [message_chunk_to_message(message)]))
        else:
            events.append(("messages/complete", [message]))
        return events


def _with_checkpoints(payload: dict[str, Any]) -> dict[str, Any]:
    """Add what clients know checkpoints by to the configurations that LangGraph knows them by."""
    tasks = []
    for task in payload["tasks"]:
        state = task.get("state")
        if isinstance(state, dict) and state.get("configurable"):
            without = {key: value for key, value in task.items() if key != "state"}
            tasks.append(without | {"checkpoint": state["configurable"]})
        else:
            tasks.append(task)
    return payload | {
        "checkpoint": checkpoint_of(payload["config"]),
        "parent_checkpoint": checkpoint_of(payload.get("parent_config")),
        "tasks": tasks,
    }
