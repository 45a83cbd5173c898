"""Takes a form, and no messages."""

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Order(TypedDict):
    """An order."""

    article: str
    pieces: int


class Bill(Order):
    """An order with its total."""

    total: int


async def price(state: Order) -> dict[str, int]:
    """Charge three for a piece."""
    return {"total": 3 * state["pieces"]}


graph = StateGraph(Bill, input_schema=Order).add_node("price", price).add_edge(START, "price").compile()
