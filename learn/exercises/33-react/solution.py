"""Write the loop of an agent by hand: think, act, observe, until there is an answer."""

from collections.abc import Callable, Mapping, Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

Model = Callable[[Sequence[AnyMessage]], AIMessage]
Tool = Callable[..., str]


def observe(tools: Mapping[str, Tool], name: str, arguments: dict[str, object]) -> str:
    """Call a tool; return its result, or a text that tells the model what went wrong."""
    if name not in tools:
        return f"Unknown tool: {name}"
    try:
        return tools[name](**arguments)
    except Exception as error:  # noqa: BLE001  a tool may fail in any way, and the model must learn of it
        return f"Error: {error}"


def run(model: Model, tools: Mapping[str, Tool], question: str, max_steps: int = 5) -> list[AnyMessage]:
    """Return the conversation, from the question to the answer.

    Raises:
        RuntimeError: The model still calls tools after `max_steps` calls of the model.
    """
    messages: list[AnyMessage] = [HumanMessage(question)]
    for _ in range(max_steps):
        reply = model(messages)
        messages.append(reply)
        if not reply.tool_calls:
            return messages
        for call in reply.tool_calls:
            result = observe(tools, call["name"], call["args"])
            messages.append(ToolMessage(result, tool_call_id=call["id"]))
    raise RuntimeError(f"No answer after {max_steps} steps.")
