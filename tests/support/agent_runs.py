"""Runs of stage 4's test graphs."""

from pathlib import Path
from typing import Any

GRAPHS = Path(__file__).parents[1] / "project4_agent_api" / "graphs" / "langgraph.json"


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}
