"""Count up, by states that say what may be in them: a Pydantic model, and a dataclass."""

import asyncio
from dataclasses import dataclass

from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class Model(BaseModel):
    """A number, and how long it takes to count it up."""

    n: int
    seconds: float = 0


@dataclass
class Data:
    """The same, which says in its own words what may not be in it."""

    n: int
    seconds: float = 0

    def __post_init__(self) -> None:
        """Look at it."""
        if not isinstance(self.n, int):
            raise TypeError("This is no number.")


async def count(state: Model | Data) -> dict[str, int]:
    """Count up."""
    await asyncio.sleep(state.seconds)
    return {"n": state.n + 1}


model = StateGraph(Model).add_node("count", count, input_schema=Model).add_edge(START, "count").compile()
data = StateGraph(Data).add_node("count", count, input_schema=Data).add_edge(START, "count").compile()
