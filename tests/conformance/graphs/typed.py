"""Graphs whose state or context is a class: a dataclass, and a Pydantic model."""

from dataclasses import asdict, dataclass, field
from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict  # typing's own has no schema before Python 3.12


@dataclass
class Preferences:
    """A context of which every value has a default."""

    colour: str = "blue"
    sizes: list[int] = field(default_factory=lambda: [1, 2])


class Shown(TypedDict, total=False):
    """The context as the step saw it."""

    shown: dict[str, Any]


def _show(state: Shown, runtime: Runtime[Preferences]) -> Shown:
    return {"shown": asdict(runtime.context)}


preferences = StateGraph(Shown, context_schema=Preferences).add_node("show", _show).add_edge(START, "show").compile()


@dataclass
class Form:
    """A form that a person completes."""

    title: str = ""
    answer: str = ""


def _complete(state: Form) -> dict[str, Any]:
    return {"answer": interrupt(f"{state.title}?")}


form = StateGraph(Form).add_node("complete", _complete).add_edge(START, "complete").compile()


class Sheet(BaseModel):
    """The same, as a Pydantic model."""

    title: str = ""
    answer: str = ""


def _complete_sheet(state: Sheet) -> dict[str, Any]:
    return {"answer": interrupt(f"{state.title}?")}


sheet = StateGraph(Sheet).add_node("complete", _complete_sheet).add_edge(START, "complete").compile()
