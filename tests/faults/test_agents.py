"""The built-in agent when its worker dies or its run ends in the middle of a tool call: the thread goes on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Run

from tests.faults.stack import Stack, running_stack
from tests.support.scripted_model import ScriptedModel, calls, embeds, hangs
from tests.support.until import until

pytestmark = pytest.mark.slow

SEARCH = ("search_documents", '{"query": "opening hours"}')
QUESTION: Any = {"messages": [{"role": "user", "content": "When do they open?"}]}
APPROVAL: Any = {"resume": {"decisions": [{"type": "approve"}]}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, _model_server: ScriptedModel) -> Iterator[Stack]:
    """All of stage 4, with an agent whose searches need approval, and short runs."""
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(
        folder,
        _model_server,
        agent_approval_tools="search_documents",
        run_timeout_seconds="4",
        cache_enabled="false",
    ) as stack:
        yield stack


def searches(model: ScriptedModel) -> int:
    """Return how often the tool was executed, as far as to the embedding of its query."""
    return sum("opening hours" in str(seen.body["input"]) for seen in model.embedded)


@asynccontextmanager
async def searching(client: LangGraphClient, model: ScriptedModel) -> AsyncIterator[tuple[str, Run]]:
    """Give a thread and a run whose search was approved and does not end; afterwards embeddings work again."""
    model.then(calls(SEARCH))
    model.embeds(hangs())
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "agent", input=QUESTION)
    run = await client.runs.create(thread_id, "agent", command=APPROVAL)
    await until(lambda: searches(model) > 0)
    yield thread_id, run
    model.embeds(embeds())


@asynccontextmanager
async def continued(stack: Stack, client: LangGraphClient, model: ScriptedModel) -> AsyncIterator[str]:
    """Give the thread of a run whose worker is killed during its search, when another worker has ended it."""
    async with searching(client, model) as (thread_id, run):
        stack.kill_worker()
        stack.service.start_worker()
        await client.runs.join(thread_id, run["run_id"])
        assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"
        yield thread_id


async def results(client: LangGraphClient, thread_id: str) -> list[str]:
    values: Any = (await client.threads.get_state(thread_id))["values"]
    return [message["content"] for message in values["messages"] if message["type"] == "tool"]


async def answer(client: LangGraphClient, thread_id: str, model: ScriptedModel) -> str:
    """Send another message, and return the answer of the strict model."""
    model.says("Very well.")
    message: Any = {"messages": [{"role": "user", "content": "Forget it."}]}
    values: Any = await client.runs.wait(thread_id, "agent", input=message)
    assert model.violations == []
    return str(values["messages"][-1]["content"])


async def test_call_of_a_killed_worker_needs_another_approval(
    stack: Stack, client: LangGraphClient, model: ScriptedModel
) -> None:
    async with continued(stack, client, model) as thread_id:
        assert searches(model) == 1
        (task,) = (await client.threads.get_state(thread_id))["tasks"]
        assert task["interrupts"][0]["value"]["action_requests"][0]["name"] == "search_documents"

    model.says("They open at nine.")
    values: Any = await client.runs.wait(thread_id, "agent", command=APPROVAL)
    assert values["messages"][-1]["content"] == "They open at nine."
    assert searches(model) == 2
    assert model.violations == []


async def test_thread_goes_on_after_a_killed_worker(
    stack: Stack, client: LangGraphClient, model: ScriptedModel
) -> None:
    async with continued(stack, client, model) as thread_id:
        pass

    assert await answer(client, thread_id, model) == "Very well."
    assert [text.partition(":")[0] for text in await results(client, thread_id)] == ["Stopped"]


@pytest.mark.parametrize("action", ["interrupt", "timeout"])
async def test_thread_goes_on_after_a_run_that_ended_during_a_call(
    client: LangGraphClient, model: ScriptedModel, action: str
) -> None:
    async with searching(client, model) as (thread_id, run):
        if action == "interrupt":
            await client.runs.cancel(thread_id, run["run_id"], wait=True)
        await client.runs.join(thread_id, run["run_id"])
        assert (await client.runs.get(thread_id, run["run_id"]))["status"] == action.replace("rupt", "rupted")

    assert await answer(client, thread_id, model) == "Very well."
    assert [text.partition(":")[0] for text in await results(client, thread_id)] == ["Stopped"]


async def test_message_instead_of_an_approval_is_answered(
    stack: Stack, client: LangGraphClient, model: ScriptedModel
) -> None:
    model.then(calls(SEARCH))
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "agent", input=QUESTION)

    assert await answer(client, thread_id, model) == "Very well."
    assert searches(model) == 0
    assert stack.rows("SELECT id FROM tool_approvals WHERE thread_id = %s", thread_id) == []


async def test_copy_of_a_thread_has_no_approvals(client: LangGraphClient, model: ScriptedModel) -> None:
    async with searching(client, model) as (thread_id, run):
        await client.runs.cancel(thread_id, run["run_id"], wait=True)
        copied: Any = await client.threads.copy(thread_id)  # type: ignore[func-returns-value]  # declared wrongly
        model.embeds(embeds())
        result: Any = await client.runs.wait(copied["thread_id"], "agent", input=None)
        assert result["__interrupt__"][0]["value"]["action_requests"][0]["name"] == "search_documents"
        assert searches(model) == 1


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client, signed in."""
    async with get_client(url=stack.service.url, api_key=None, headers=stack.service.sign_up()) as client:
        yield client
