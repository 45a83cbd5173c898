"""Tools of AG-UI's frontends: the frontend executes the model's calls, and answers with messages."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow
WEATHER = ("get_weather", '{"place": "Oslo"}')
TOOL = {"name": "get_weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}
QUESTION = {"id": "q", "role": "user", "content": "Weather?"}


@pytest.fixture
async def http(service: AgentService, headers: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


async def run(http: httpx2.AsyncClient, thread: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the agent with a tool of the frontend, and return the events."""
    body = {"threadId": thread, "runId": "r", "state": {}, "context": [], "forwardedProps": {}}
    answer = await http.post("/ag-ui/agent", json=body | {"messages": messages, "tools": [TOOL]})
    assert answer.status_code == 200, answer.text
    lines = answer.text.splitlines()
    return [orjson.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def of_type(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == name]


@pytest.mark.parametrize("writes_instead", [False, True])
async def test_frontend_executes_a_call(
    http: httpx2.AsyncClient, model: ScriptedModel, *, writes_instead: bool
) -> None:
    model.then(calls(WEATHER), says("It rains."))
    thread = f"frontend-{writes_instead}"
    first = await run(http, thread, QUESTION)

    [started] = of_type(first, "TOOL_CALL_START")
    assert started["toolCallName"] == "get_weather"
    assert of_type(first, "RUN_FINISHED")[0]["outcome"]["type"] == "success"  # no question to the user

    call_id = started["toolCallId"]
    function = {"name": "get_weather", "arguments": WEATHER[1]}
    calling = {"id": started["parentMessageId"], "role": "assistant", "toolCalls": [
        {"id": call_id, "type": "function", "function": function}
    ]}  # fmt: skip
    result = {"id": "t", "role": "tool", "toolCallId": call_id, "content": "rain"}
    added = [{"id": "q2", "role": "user", "content": "Well?"}] if writes_instead else []
    second = await run(http, thread, QUESTION, calling, result, *added)

    assert "".join(event["delta"] for event in of_type(second, "TEXT_MESSAGE_CONTENT")) == "It rains."
    assert not of_type(second, "TOOL_CALL_RESULT")  # the frontend has it
    sent = model.requests[1].body["messages"]
    assert [message["role"] for message in sent[:4]] == ["system", "user", "assistant", "tool"]
    assert sent[3]["content"] == "rain"
    assert sent[-1]["role"] == ("user" if writes_instead else "tool")


async def test_tools_are_refused_by_an_assistant_that_takes_none(http: httpx2.AsyncClient) -> None:
    body = {"threadId": "t", "runId": "r", "state": {}, "context": [], "forwardedProps": {}, "messages": [QUESTION]}
    answer = await http.post("/ag-ui/rag", json=body | {"tools": [TOOL]})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "tools"])
