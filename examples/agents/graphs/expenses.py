"""A graph that waits for a person: the run ends in an interrupt, and `command: {resume: true}` goes on from there."""

import os
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Expense(TypedDict, total=False):
    """An expense, and what became of it."""

    what: str
    euros: float
    status: str


def check(expense: Expense) -> Expense:
    """Take a small expense; ask about a large one."""
    limit = float(os.environ["EXPENSES_LIMIT_EUR"])
    if expense["euros"] <= limit:
        return {"status": "paid"}
    approved = interrupt({"question": f"Pay {expense['euros']:.2f} euros for {expense['what']}?", "limit": limit})
    return {"status": "paid" if approved is True else "refused"}


builder = StateGraph(Expense)
builder.add_node("check", check)
builder.add_edge(START, "check")
builder.add_edge("check", END)
