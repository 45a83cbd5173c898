"""Stage 4 in front of a real model: an API and a worker, executed tools, and interrupted conversations."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from local.model_server.language_models import QWEN
from tests.real_model.agent import SUM, SUM_RESULT, agent_service, run, tool_results
from tests.real_model.conftest import is_chinese
from tests.real_model.llama import ROOT, busy_slots
from tests.support.agent_runs import said
from tests.support.agent_service import AgentService
from tests.support.databases import Databases
from tests.support.documents import ready
from tests.support.until import until
from tests.support.valkeys import database_of

STOCK = "Use the tool check_stock: how many pieces of the product 'lamp' are in stock?"


@pytest.fixture(scope="module")
def tool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tools")


@pytest.fixture(scope="module")
def service(
    llama: str, embeddings: dict[str, str], databases: Databases, _redis_server: str, tool_folder: Path
) -> Iterator[AgentService]:
    with databases.migrated("project4_agent_api") as database_url:
        variables = {
            "DATABASE_URL": database_url,
            "REDIS_URL": database_of(_redis_server, 1),
            "OPENAI_BASE_URL": llama,
            "LLM_MODEL": QWEN,
            **embeddings,
        }
        with agent_service(variables, tool_folder) as service:
            yield service


@pytest.fixture
async def client(service: AgentService) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client of a new account."""
    async with get_client(url=service.url, api_key=None, headers=service.sign_up(), timeout=600) as client:
        yield client


@pytest.fixture
async def thread_id(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_tool_is_executed(client: LangGraphClient, thread_id: str) -> None:
    messages = await run(client, thread_id, SUM)

    assert SUM_RESULT in tool_results(messages)
    assert messages[0]["type"] == "human"
    assert messages[-1]["type"] == "ai"
    assert not messages[-1]["tool_calls"]


async def test_tool_call_is_streamed(client: LangGraphClient, thread_id: str) -> None:
    pieces: list[str] = []
    names: set[str] = set()
    async for part in client.runs.stream(
        thread_id, "agent", input=said(SUM), stream_mode=["messages-tuple", "updates"]
    ):
        assert part.event != "error", part.data
        if part.event == "messages":
            message = part.data[0]
            for chunk in message.get("tool_call_chunks") or []:
                names |= {chunk["name"]} - {None, ""}
                pieces.append(chunk["args"] or "")

    state = await client.threads.get_state(thread_id)
    messages = state["values"]["messages"]  # type: ignore[call-overload]  # the values of this graph are a mapping
    assert SUM_RESULT in tool_results(messages)
    assert "calculator" in names
    assert len(pieces) > 1
    assert re.search(r"17\s*\*\s*23", "".join(pieces))


async def test_thread_goes_on_in_chinese_after_a_tool_call(client: LangGraphClient, thread_id: str) -> None:
    await run(client, thread_id, SUM)
    messages = await run(client, thread_id, "谢谢！请用中文介绍一下你自己。")

    assert [message["type"] for message in messages[-2:]] == ["human", "ai"]
    assert is_chinese(messages[-1]["content"])


async def test_thread_goes_on_after_a_cancelled_tool(
    client: LangGraphClient, thread_id: str, tool_folder: Path
) -> None:
    created = await client.runs.create(thread_id, "agent", input=said(STOCK))
    await until((tool_folder / "started").exists, 300)
    await client.runs.cancel(thread_id, created["run_id"], wait=True)
    (tool_folder / "go").touch()
    assert (await client.runs.get(thread_id, created["run_id"]))["status"] == "interrupted"

    messages = await run(client, thread_id, SUM)

    assert [message["content"] for message in messages if message["type"] == "human"] == [STOCK, SUM]
    assert SUM_RESULT in tool_results(messages)
    assert not any("12 pieces" in result for result in tool_results(messages))
    assert messages[-1]["type"] == "ai"


async def test_cancelled_answer_stops_the_model(client: LangGraphClient, thread_id: str, llama: str) -> None:
    created = await client.runs.create(thread_id, "agent", input=said("Write a very long story about the sea."))
    await until(lambda: busy_slots(llama) > 0, 120)
    await client.runs.cancel(thread_id, created["run_id"], wait=True)
    await until(lambda: busy_slots(llama) == 0, 60)

    messages = await run(client, thread_id, "你好！")

    assert messages[-1]["type"] == "ai"
    assert messages[-1]["content"]


async def test_parallel_runs_are_all_answered(client: LangGraphClient) -> None:
    threads = [(await client.threads.create())["thread_id"] for _ in range(3)]
    sums = [f"Use the calculator: what is {number} * 11?" for number in (21, 22, 23)]

    conversations = await asyncio.gather(*(run(client, *asked) for asked in zip(threads, sums, strict=True)))

    assert ["231" in tool_results(conversations[0]), "242" in tool_results(conversations[1])] == [True, True]
    assert all(messages[-1]["type"] == "ai" for messages in conversations)


async def test_documents_are_graded_by_the_model(service: AgentService) -> None:
    """The grade is structured output: llama.cpp turns its JSON schema into a grammar."""
    headers = service.sign_up()
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=600, trust_env=False) as http:
        await ready(http, (ROOT / "examples" / "documents" / "员工手册.docx").read_bytes(), "员工手册.docx")
    async with get_client(url=service.url, api_key=None, headers=headers, timeout=600) as client:
        thread_id = (await client.threads.create())["thread_id"]
        messages = await run(client, thread_id, "出差期间每天餐补多少？", "rag")
        history = await client.threads.get_history(thread_id, limit=20)

    assert [message["type"] for message in messages] == ["human", "ai"]
    assert messages[-1]["content"]
    # A grade of the model is 0 or 1; similarity scores, which decide if it returned none, lie between.
    values: list[Any] = [state["values"] for state in history]
    assert {state["relevance"] for state in values if state.get("relevance", -1) >= 0} <= {0, 1}
