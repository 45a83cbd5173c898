"""Small project of stage 4: an assistant that searches notes with a tool and remembers the conversation."""

from collections.abc import AsyncIterator, Callable, Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: F401  you need it
from langchain_core.tools import BaseTool, StructuredTool  # noqa: F401  you need them

Model = Callable[[Sequence[AnyMessage]], AIMessage]


def search_tool(notes: Sequence[str]) -> BaseTool:
    """Return the tool `search_notes(words)`: the notes that have most of the words, numbered [1], [2]."""
    # TODO: a docstring that the model can choose by; at most two notes; "Nothing found." if no note has a word
    #       写一段模型能据以选择的文档字符串；最多两条；一个词都没有就返回 "Nothing found."
    raise NotImplementedError


class Assistant:
    """A conversation with a model that has one tool.

    Args:
        limit: Number of messages that the model is shown at most, besides the system message.
    """

    def __init__(self, model: Model, tool: BaseTool, limit: int = 6, max_steps: int = 3) -> None:
        self.model = model
        self.tool = tool
        self.limit = limit
        self.max_steps = max_steps
        self.messages: list[AnyMessage] = []

    def window(self) -> list[AnyMessage]:
        """Return what the model is shown: a system message, and the end of the conversation."""
        # TODO: at most `limit` messages, beginning with a HumanMessage: a tool's result without its call is refused
        #       最多 limit 条，并且从 HumanMessage 开始：没有对应调用的工具结果会被模型接口拒绝
        return list(self.messages)

    async def ask(self, question: str) -> AsyncIterator[str]:
        """Yield "searching: …" for each call of the tool, and the answer at the end."""
        # TODO: the ReAct loop, with at most `max_steps` calls of the model; then yield "I do not know."
        #       ReAct 循环，模型最多调用 max_steps 次，超过就产出 "I do not know."
        yield ""
