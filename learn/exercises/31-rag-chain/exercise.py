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
    # TODO: sort by the score, best first, and keep only some
    #       按得分从高到低排序，只保留前几条
    return passages


def number(passages: list[str]) -> str:
    """Return one line for each passage: `[1] …`, `[2] …`."""
    # TODO: number the passages from 1
    #       从 1 开始给片段编号
    return "\n".join(passages)


def build_chain(
    retrieve: Callable[[str], list[str]], score: Callable[[str, str], float], model: BaseChatModel
) -> Runnable[dict[str, Any], str]:
    """Return the chain from `{"question": …}` to the answer; the prompt gets the two best passages."""
    # TODO: add "passages", then "context", with RunnablePassthrough.assign, before the prompt
    #       在提示词之前，用 RunnablePassthrough.assign 依次加上 passages 和 context
    return PROMPT | model | StrOutputParser()
