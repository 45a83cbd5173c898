"""Long-term memory of a user, shared by all threads.

A run's store contains the user's own items only, so the namespace does not name the user.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated

from langchain.tools import ToolRuntime
from langchain_core.tools import ToolException, tool
from langgraph.store.base import BaseStore
from pydantic import Field

NAMESPACE = ("memories",)
_MAX_LENGTH = 1000  # characters
_RECALL_LIMIT = 5


@tool(parse_docstring=True)
async def remember(fact: Annotated[str, Field(min_length=1, max_length=_MAX_LENGTH)], runtime: ToolRuntime) -> str:
    """Remember a fact about the user for later conversations, when the user asks to, or tells something lasting.

    Args:
        fact: The fact, as a sentence that can be understood alone.
        runtime: Passed by LangGraph.
    """
    text = " ".join(fact.split())
    # Keyed by content, so that repeating a fact stores it once.
    key = blake2b(text.casefold().encode(), digest_size=16).hexdigest()
    value = {"text": text, "created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    await _store(runtime).aput(NAMESPACE, key, value, index=["text"])
    return f"Remembered: {text}"


@tool(parse_docstring=True)
async def recall(query: Annotated[str, Field(min_length=1, max_length=_MAX_LENGTH)], runtime: ToolRuntime) -> str:
    """Recall what the user said in earlier conversations: what do you remember, what do you know about me.

    Args:
        query: The subject, in words.
        runtime: Passed by LangGraph.
    """
    items = await _store(runtime).asearch(NAMESPACE, query=query, limit=_RECALL_LIMIT)
    if not items:
        return "Nothing is remembered yet."
    return "\n".join(f"- {item.value['text']} (since {item.value['created_at'][:10]})" for item in items)


def _store(runtime: ToolRuntime) -> BaseStore:
    if runtime.store is None:
        raise ToolException("Nothing can be remembered here: this run has no store.")
    return runtime.store
