"""Retrieve, rerank, generate: a RAG chain whose steps add to one dictionary."""

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough

PROMPT = ChatPromptTemplate(
    [("system", "Answer from these passages only, and cite their numbers:\n{context}"), ("human", "{question}")]
)


def rerank(question: str, passages: list[str], score: Callable[[str, str], float], keep: int) -> list[str]:
    """Return the `keep` passages with the highest `score(question, passage)`, best first."""
    return sorted(passages, key=lambda passage: score(question, passage), reverse=True)[:keep]


def number(passages: list[str]) -> str:
    """Return one line for each passage: `[1] …`, `[2] …`."""
    return "\n".join(f"[{place}] {passage}" for place, passage in enumerate(passages, start=1))


def build_chain(
    retrieve: Callable[[str], list[str]], score: Callable[[str, str], float], model: BaseChatModel
) -> Runnable[dict[str, Any], str]:
    """Return the chain from `{"question": …}` to the answer; the prompt gets the two best passages."""
    return (
        RunnablePassthrough.assign(passages=lambda state: retrieve(state["question"]))
        | RunnablePassthrough.assign(
            context=lambda state: number(rerank(state["question"], state["passages"], score, keep=2))
        )
        | PROMPT
        | model
        | StrOutputParser()
    )
