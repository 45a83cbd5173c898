"""Write the loop of an agent by hand: think, act, observe, until there is an answer."""

from collections.abc import Callable, Mapping, Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

Model = Callable[[Sequence[AnyMessage]], AIMessage]
Tool = Callable[..., str]


def observe(tools: Mapping[str, Tool], name: str, arguments: dict[str, object]) -> str:
    """Call a tool; return its result, or a text that tells the model what went wrong."""
    # TODO: an unknown name gives "Unknown tool: …", and an exception of the tool gives "Error: …"
    #       工具名未知时返回 "Unknown tool: …"，工具抛出异常时返回 "Error: …"
    return tools[name](**arguments)


def run(model: Model, tools: Mapping[str, Tool], question: str, max_steps: int = 5) -> list[AnyMessage]:
    """Return the conversation, from the question to the answer.

    Raises:
        RuntimeError: The model still calls tools after `max_steps` calls of the model.
    """
    messages: list[AnyMessage] = [HumanMessage(question)]
    # TODO: call the model with the messages and append its reply
    #       用这些消息调用模型，把回复追加到末尾
    # TODO: without tool calls the reply is the answer; else append a ToolMessage for each call, and repeat
    #       没有工具调用就是最终答案；否则为每个调用追加一条 ToolMessage，再重复
    return messages
