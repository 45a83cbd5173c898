"""Small project of stage 4: an assistant that searches notes with a tool and remembers the conversation."""

from collections.abc import AsyncIterator, Callable, Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool

Model = Callable[[Sequence[AnyMessage]], AIMessage]


def search_tool(notes: Sequence[str]) -> BaseTool:
    """Return the tool `search_notes(words)`: the notes that have most of the words, numbered [1], [2]."""

    def search_notes(words: str) -> str:
        """Search the user's own notes for some words. Use it for every question about the user."""
        wanted = set(words.lower().split())
        scores = [(len(wanted & set(note.lower().split())), note) for note in notes]
        found = [note for score, note in sorted(scores, key=lambda one: -one[0]) if score][:2]
        return "\n".join(f"[{number}] {note}" for number, note in enumerate(found, start=1)) or "Nothing found."

    return StructuredTool.from_function(search_notes)


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
        end = self.messages[-self.limit :]
        while end and not isinstance(end[0], HumanMessage):
            end = end[1:]
        return [SystemMessage("Answer from the notes, and cite them as [1]."), *end]

    async def ask(self, question: str) -> AsyncIterator[str]:
        """Yield "searching: …" for each call of the tool, and the answer at the end."""
        self.messages.append(HumanMessage(question))
        for _ in range(self.max_steps):
            reply = self.model(self.window())
            self.messages.append(reply)
            if not reply.tool_calls:
                yield reply.text
                return
            for call in reply.tool_calls:
                yield f"searching: {call['args'].get('words', '')}"
                result = await self.tool.ainvoke(call["args"])
                self.messages.append(ToolMessage(result, tool_call_id=call["id"]))
        self.messages.append(AIMessage("I do not know."))
        yield "I do not know."
