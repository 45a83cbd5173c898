"""Stage 4 with a tool that waits, in front of any model endpoint."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph_sdk.client import LangGraphClient

from tests.support.agent_runs import said
from tests.support.agent_service import AgentService

_SLOW_TOOLS = Path(__file__).with_name("slow_tools.py")
_PROMPT = "You are a helpful assistant. Call a tool if one helps. Answer briefly, in the language of the question."
SUM = "Use the calculator: what is 17 * 23?"
SUM_RESULT = "391"


@contextmanager
def agent_service(variables: Mapping[str, str], tool_folder: Path) -> Iterator[AgentService]:
    """Run an API and a worker while the block runs.

    Args:
        variables: Addresses and models.
        tool_folder: The folder of the files that the slow tool writes and waits for.
    """
    slow = {"transport": "stdio", "command": sys.executable, "args": [str(_SLOW_TOOLS), str(tool_folder)]}
    service = AgentService(
        {
            "APP_ENV": "test",
            "LLM_MAX_RETRIES": "0",
            "LLM_TIMEOUT_SECONDS": "300",
            "AGENT_SYSTEM_PROMPT": _PROMPT,
            "AGENT_MAX_MODEL_CALLS": "3",
            "JWT_SECRET": "a secret of the tests, with more than 32 bytes",
            "RAG_GRADER": "model",
            "MCP_SERVERS": json.dumps({"shop": slow}),
            **variables,
        }
    )
    try:
        service.start()
        yield service
    finally:
        service.stop()


async def run(client: LangGraphClient, thread_id: str, text: str, graph: str = "agent") -> list[dict[str, Any]]:
    """Run a graph, and return the thread's messages."""
    state: Any = await client.runs.wait(thread_id, graph, input=said(text))
    messages: list[dict[str, Any]] = state["messages"]
    return messages


def tool_results(messages: list[dict[str, Any]]) -> list[str]:
    """Return the results of the tools, after a check that each belongs to a call."""
    calls = [call["id"] for message in messages for call in message.get("tool_calls") or []]
    results = [message for message in messages if message["type"] == "tool"]
    assert [result["tool_call_id"] for result in results] == calls
    assert len(set(calls)) == len(calls)
    return [result["content"] for result in results]
