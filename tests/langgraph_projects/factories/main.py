"""Every kind of factory, in a file named as many are."""

from contextlib import asynccontextmanager
from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk.runtime import ServerRuntime
from local.words import said


class State(TypedDict, total=False):
    said: str


def saying(word: str) -> StateGraph:
    return StateGraph(State).add_node("say", lambda state: {"said": said(word)}).add_edge(START, "say")


def plain() -> StateGraph:
    return saying("plain")


def from_config(config: RunnableConfig | None = None):
    return saying((config or {}).get("configurable", {}).get("word", "none")).compile()


async def awaited(config):
    return saying("awaited")


@asynccontextmanager
async def opened(config: RunnableConfig):
    yield saying("opened").compile()


async def streamed():
    yield saying("streamed")


def for_user(runtime: ServerRuntime):
    return saying(runtime.ensure_user().identity)
