"""A graph with a human in the loop: the run ends with an interrupt, and `command: {resume: true}` resumes it."""

import os
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Expense(TypedDict, total=False):
    """An expense and its status."""

    what: str
    euros: float
    status: str


def check(expense: Expense) -> Expense:
    """Accept a small expense; ask for approval of a large one."""
    limit = float(os.environ["EXPENSES_LIMIT_EUR"])
    if expense["euros"] <= limit:
        return {"status": "paid"}
    approved = interrupt({"question": f"Pay {expense['euros']:.2f} euros for {expense['what']}?", "limit": limit})
    return {"status": "paid" if approved is True else "refused"}


builder = StateGraph(Expense)
builder.add_node("check", check)
builder.add_edge(START, "check")
builder.add_edge("check", END)
