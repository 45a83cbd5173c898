"""Search in the user's documents: stage 3's, with passages that the answer can cite."""

from collections.abc import Sequence
from typing import Annotated, Any

from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from pydantic import Field

from project3_rag_docs.answers.answering import citation_of
from project3_rag_docs.answers.chain import Steps, passages_text
from project3_rag_docs.answers.citations import Cited, best_sentence
from project3_rag_docs.search.lexical import analyse
from project4_agent_api.agents.identity import owner_of

NAME = "search_documents"
_PASSAGES = 6


def search_documents_tool(steps: Steps) -> BaseTool:
    """Make the tool.

    Its results are passages with numbers, and as the message's artifact `citations`: for each number what stage 3 says
    of a citation, so that a client can show what a `[3]` in the answer rests on.
    """

    @tool(NAME, response_format="content_and_artifact", parse_docstring=True)
    async def search_documents(
        query: Annotated[str, Field(min_length=1, max_length=4000)], runtime: ToolRuntime
    ) -> tuple[str, dict[str, Any]]:
        """Search the user's uploaded documents, files and policies for passages that answer a question.

        Args:
            query: What to look for, as a question or in keywords.
            runtime: The run's.
        """
        question = {"owner_id": owner_of(runtime.config), "question": query, "k": _PASSAGES, "document_ids": None}
        hits = await steps.retrieve(question)
        passages = await steps.rerank(question | {"hits": hits})
        first = _first_number(runtime.state["messages"], runtime.tool_call_id)
        terms = analyse(query).terms
        citations = [
            citation_of(Cited(number, hit, best_sentence(hit.text, terms))).model_dump(mode="json")
            for number, hit in enumerate(passages, start=first)
        ]
        text = passages_text(passages, first) if passages else "Nothing was found in the user's documents."
        return text, {"citations": citations}

    return search_documents


def _first_number(messages: Sequence[AnyMessage], call_id: str | None) -> int:
    """Return a number from which on no passage of the thread has one: a `[1]` must not mean two things.

    Searches that run side by side do not see each other, so each takes the room of those before it in the message.
    """
    used = [
        citation["marker"]
        for message in messages
        if isinstance(message, ToolMessage) and isinstance(message.artifact, dict)
        for citation in message.artifact.get("citations", [])
    ]
    asked = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    searches = [call["id"] for call in asked.tool_calls if call["name"] == NAME] if asked else []
    before = searches.index(call_id) if call_id in searches else 0
    return max(used, default=0) + 1 + before * _PASSAGES
