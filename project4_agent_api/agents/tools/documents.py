"""Search in the user's documents with stage 3's search; the answer can cite the passages."""

from collections.abc import Sequence
from typing import Annotated, Any

from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from pydantic import Field

from project3_rag_docs.answers.answering import to_citation
from project3_rag_docs.answers.chain import Steps, format_passages
from project3_rag_docs.answers.citations import CitedPassage, best_sentence
from project3_rag_docs.search.lexical import analyse
from project4_agent_api.agents.services import owner_id_of

NAME = "search_documents"
_PASSAGES = 6


def search_documents_tool(steps: Steps) -> BaseTool:
    """Create the tool.

    It returns numbered passages, and stage 3's citations in the message's artifact, so that a client can resolve a
    `[3]` in the answer.
    """

    @tool(NAME, response_format="content_and_artifact", parse_docstring=True)
    async def search_documents(
        query: Annotated[str, Field(min_length=1, max_length=4000)], runtime: ToolRuntime
    ) -> tuple[str, dict[str, Any]]:
        """Search the user's uploaded documents, files and policies for passages that answer a question.

        Args:
            query: What to look for, as a question or in keywords.
            runtime: Passed by LangGraph.
        """
        search = {"owner_id": owner_id_of(runtime.config), "question": query, "k": _PASSAGES, "document_ids": None}
        hits = await steps.retrieve(search)
        passages = await steps.rerank(search | {"hits": hits})
        first_number = _first_number(runtime.state["messages"], runtime.tool_call_id)
        terms = analyse(query).terms
        citations = [
            to_citation(CitedPassage(number, hit, best_sentence(hit.text, terms))).model_dump(mode="json")
            for number, hit in enumerate(passages, start=first_number)
        ]
        text = format_passages(passages, first_number) if passages else "Nothing was found in the user's documents."
        return text, {"citations": citations}

    return search_documents


def _first_number(messages: Sequence[AnyMessage], call_id: str | None) -> int:
    """Return the number of the first passage, so that no number is used twice in a thread.

    Concurrent searches of one message do not see each other, so each skips the numbers of those before it.
    """
    used = [
        citation["marker"]
        for message in messages
        if isinstance(message, ToolMessage) and isinstance(message.artifact, dict)
        for citation in message.artifact.get("citations", [])
    ]
    caller = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    searches = [call["id"] for call in caller.tool_calls if call["name"] == NAME] if caller else []
    position = searches.index(call_id) if call_id in searches else 0
    return max(used, default=0) + 1 + position * _PASSAGES
