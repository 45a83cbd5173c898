"""A thread's state: read, at any checkpoint, changed, and forked."""

import itertools

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import ThreadState

from tests.conformance.support import asleep, plain, refused


@pytest.fixture
async def history(client: LangGraphClient, thread_id: str) -> list[ThreadState]:
    """The thread's history after it has counted from ten to thirteen, newest first."""
    await client.runs.wait(thread_id, "counter", input={"count": 10}, metadata={"purpose": "count"})
    return await client.threads.get_history(thread_id)


async def test_state_of_a_new_thread(client: LangGraphClient, thread_id: str) -> None:
    state = await client.threads.get_state(thread_id)
    assert (state["values"], state["next"], state["tasks"]) == ({}, [], [])
    assert state["parent_checkpoint"] is None
    assert await client.threads.get_history(thread_id) == []


async def test_state_after_a_run(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "counter", input={}, metadata={"purpose": "count"})
    await client.runs.join(thread_id, run["run_id"])
    state = await client.threads.get_state(thread_id)
    assert state["values"] == {"count": 3, "trail": ["one", "two", "three"]}
    assert (state["next"], state["tasks"], state["interrupts"]) == ([], [], [])
    assert state["created_at"]
    assert state["checkpoint"]["thread_id"] == thread_id
    assert state["checkpoint"]["checkpoint_ns"] == ""
    assert state["checkpoint"]["checkpoint_id"]
    metadata = state["metadata"]
    assert metadata is not None
    assert (metadata["source"], metadata["step"], metadata["run_id"]) == ("loop", 3, run["run_id"])
    assert (metadata["graph_id"], metadata["assistant_id"]) == ("counter", run["assistant_id"])
    assert metadata["purpose"] == "count"


async def test_state_after_an_error(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
    state = await client.threads.get_state(thread_id)
    assert (state["values"], state["next"]) == ({"count": 1, "trail": ["one"]}, ["break"])
    (task,) = state["tasks"]
    assert task["name"] == "break"
    assert task["error"] is not None
    assert "It is broken." in task["error"]


async def test_state_at_an_interrupt(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "approval", input={"topic": "go"})
    state = await client.threads.get_state(thread_id)
    assert state["next"] == ["ask"]
    (task,) = state["tasks"]
    (interrupt,) = task["interrupts"]
    assert interrupt["value"] == {"question": "May I go?"}
    assert state["interrupts"] == [interrupt]
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "interrupted"
    assert thread["interrupts"] == {task["id"]: [interrupt]}


async def test_state_with_subgraphs(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"ask": True})
    (task,) = (await client.threads.get_state(thread_id))["tasks"]
    assert task["name"] == "middle"
    assert task["state"] is None
    assert task["checkpoint"] is not None
    assert task["checkpoint"]["checkpoint_ns"] == f"middle:{task['id']}"

    (task,) = (await client.threads.get_state(thread_id, subgraphs=True))["tasks"]
    middle = task["state"]
    assert middle is not None
    assert (middle["values"], middle["next"]) == ({"ask": True, "trail": ["begin", "down"]}, ["inner"])
    inner = middle["tasks"][0]["state"]
    assert inner is not None
    assert inner["next"] == ["bottom"]
    assert inner["checkpoint"]["checkpoint_ns"].startswith(f"middle:{task['id']}|inner:")


async def test_state_of_a_subgraph(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"ask": True})
    (task,) = (await client.threads.get_state(thread_id))["tasks"]
    middle = await client.threads.get_state(thread_id, checkpoint=task["checkpoint"])
    assert middle["values"] == {"ask": True, "trail": ["begin", "down"]}
    assert middle["next"] == ["inner"]
    whole = await client.threads.get_state(thread_id, checkpoint=task["checkpoint"], subgraphs=True)
    assert whole["tasks"][0]["state"] is not None


async def test_history_is_listed_newest_first(thread_id: str, history: list[ThreadState]) -> None:
    assert [state["next"] for state in history] == [[], ["three"], ["two"], ["one"], ["__start__"]]
    assert [plain(state["values"]).get("count", 0) for state in history] == [13, 12, 11, 10, 0]
    assert [(state["metadata"] or {})["source"] for state in history] == ["loop"] * 4 + ["input"]
    for state, older in itertools.pairwise(history):
        assert state["parent_checkpoint"] is not None
        assert state["parent_checkpoint"]["checkpoint_id"] == older["checkpoint"]["checkpoint_id"]
        assert state["checkpoint"]["thread_id"] == thread_id
    assert history[-1]["parent_checkpoint"] is None


async def test_history_is_limited_and_filtered(
    client: LangGraphClient, thread_id: str, history: list[ThreadState]
) -> None:
    assert await client.threads.get_history(thread_id, limit=2) == history[:2]
    assert await client.threads.get_history(thread_id, metadata={"source": "input"}) == history[4:]
    assert await client.threads.get_history(thread_id, metadata={"step": 1, "purpose": "count"}) == [history[2]]
    assert await client.threads.get_history(thread_id, metadata={"purpose": "none"}) == []
    assert await client.threads.get_history(thread_id, checkpoint=history[2]["checkpoint"]) == [history[2]]


@pytest.mark.reference_differs("it answers 500")
async def test_history_before_a_checkpoint(client: LangGraphClient, thread_id: str, history: list[ThreadState]) -> None:
    checkpoint = history[1]["checkpoint"]
    assert await client.threads.get_history(thread_id, before=checkpoint) == history[2:]
    assert checkpoint["checkpoint_id"] is not None
    assert await client.threads.get_history(thread_id, before=checkpoint["checkpoint_id"], limit=1) == [history[2]]


async def test_history_of_a_subgraph(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "nested", input={"ask": True})
    (task,) = (await client.threads.get_state(thread_id))["tasks"]
    states = await client.threads.get_history(thread_id, checkpoint=task["checkpoint"])
    assert [state["next"] for state in states] == [["inner"], ["down"], ["__start__"]]


async def test_invalid_history_request_is_rejected(client: LangGraphClient, thread_id: str) -> None:
    for limit in (0, 1001):
        with refused(422):
            await client.threads.get_history(thread_id, limit=limit)


async def test_state_at_a_checkpoint(client: LangGraphClient, thread_id: str, history: list[ThreadState]) -> None:
    checkpoint = history[2]["checkpoint"]
    assert await client.threads.get_state(thread_id, checkpoint=checkpoint) == history[2]
    by_id = await client.threads.get_state(thread_id, checkpoint_id=checkpoint["checkpoint_id"])
    assert (by_id["values"], by_id["next"], by_id["metadata"]) == (
        {"count": 11, "trail": ["one"]},
        ["two"],
        history[2]["metadata"],
    )


@pytest.mark.reference_differs("it sends every field, whichever are asked for")
async def test_state_has_selected_fields(client: LangGraphClient, thread_id: str, history: list[ThreadState]) -> None:
    newest = history[0]
    chosen = {"values": newest["values"], "next": []}
    assert plain(await client.threads.get_state(thread_id, select=["values", "next"])) == chosen
    checkpoint = newest["checkpoint"]
    assert plain(await client.threads.get_state(thread_id, checkpoint=checkpoint, select=["values", "next"])) == chosen
    (first,) = await client.threads.get_history(thread_id, limit=1, select=["values", "next"])
    assert plain(first) == chosen


async def test_update_stores_values(client: LangGraphClient, thread_id: str, history: list[ThreadState]) -> None:
    answer = await client.threads.update_state(thread_id, {"count": 100}, as_node="one")
    state = await client.threads.get_state(thread_id)
    assert answer["checkpoint"]["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
    assert answer["checkpoint"]["thread_id"] == thread_id
    assert plain(state["values"])["count"] == 113
    assert state["next"] == ["two"]
    assert state["parent_checkpoint"] is not None
    assert state["parent_checkpoint"]["checkpoint_id"] == history[0]["checkpoint"]["checkpoint_id"]
    assert (state["metadata"] or {})["source"] == "update"
    thread = await client.threads.get(thread_id)
    assert (thread["status"], plain(thread["values"])["count"]) == ("interrupted", 113)
    ended = await client.runs.wait(thread_id, "counter")
    assert plain(ended)["trail"] == ["one", "two", "three", "two", "three"]


async def test_update_after_the_end_schedules_nothing(
    client: LangGraphClient, thread_id: str, history: list[ThreadState]
) -> None:
    assert history
    await client.threads.update_state(thread_id, {"count": 1}, as_node="three")
    state = await client.threads.get_state(thread_id)
    assert (plain(state["values"])["count"], state["next"]) == (14, [])
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_update_as_end_finishes_the_thread(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "counter", input={}, interrupt_before=["two"])
    await client.threads.update_state(thread_id, None, as_node="__end__")
    state = await client.threads.get_state(thread_id)
    assert (state["values"], state["next"]) == ({"count": 1, "trail": ["one"]}, [])
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_update_forks_at_a_checkpoint(
    client: LangGraphClient, thread_id: str, history: list[ThreadState]
) -> None:
    checkpoint = history[2]["checkpoint"]
    await client.threads.update_state(thread_id, {"count": 1000}, checkpoint=checkpoint, as_node="two")
    state = await client.threads.get_state(thread_id)
    assert state["values"] == {"count": 1011, "trail": ["one"]}
    assert state["next"] == ["three"]
    assert state["parent_checkpoint"] is not None
    assert state["parent_checkpoint"]["checkpoint_id"] == checkpoint["checkpoint_id"]
    assert await client.threads.get_state(thread_id, checkpoint=history[0]["checkpoint"]) == history[0]


async def test_update_forks_at_a_checkpoint_id(
    client: LangGraphClient, thread_id: str, history: list[ThreadState]
) -> None:
    checkpoint_id = history[2]["checkpoint"]["checkpoint_id"]
    await client.threads.update_state(thread_id, {"count": 1000}, checkpoint_id=checkpoint_id)
    state = await client.threads.get_state(thread_id)
    assert (plain(state["values"])["count"], state["next"]) == (1011, ["two"])


async def test_invalid_update_is_rejected(client: LangGraphClient, thread_id: str) -> None:
    with refused(422, reference=400):
        await client.threads.update_state(thread_id, {"count": 1})
    await client.threads.update(thread_id, metadata={"graph_id": "counter"})
    with refused(422, reference=400):
        await client.threads.update_state(thread_id, {"count": 1}, as_node="nowhere")


async def test_update_that_the_graph_rejects_is_a_client_error(
    client: LangGraphClient, thread_id: str, history: list[ThreadState]
) -> None:
    assert history
    with refused(422, reference=500):
        await client.threads.update_state(thread_id, {"count": "many"}, as_node="one")


async def test_update_of_a_busy_thread_is_409(client: LangGraphClient, thread_id: str) -> None:
    run_id = await asleep(client, thread_id)
    with refused(409):
        await client.threads.update_state(thread_id, {"seconds": 0}, as_node="sleep")
    await client.runs.cancel(thread_id, run_id, wait=True)


class TestFork:
    async def test_run_forks_from_a_checkpoint(
        self, client: LangGraphClient, thread_id: str, history: list[ThreadState]
    ) -> None:
        checkpoint = history[2]["checkpoint"]
        ended = await client.runs.wait(thread_id, "counter", checkpoint=checkpoint)
        assert ended == {"count": 13, "trail": ["one", "two", "three"]}
        after = await client.threads.get_history(thread_id)
        assert len(after) > len(history)
        assert after[-len(history) :] == history

    async def test_run_forks_from_a_checkpoint_id_with_new_input(
        self, client: LangGraphClient, thread_id: str, history: list[ThreadState]
    ) -> None:
        checkpoint_id = history[1]["checkpoint"]["checkpoint_id"]
        ended = await client.runs.wait(thread_id, "counter", checkpoint_id=checkpoint_id, input={"count": 100})
        assert ended == {"count": 115, "trail": ["one", "two", "one", "two", "three"]}
        assert await client.threads.get_state(thread_id, checkpoint=history[0]["checkpoint"]) == history[0]

    async def test_fork_asks_the_question_again(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "approval", input={"topic": "go"})
        await client.runs.wait(thread_id, "approval", command={"resume": "yes"})
        beginning = (await client.threads.get_history(thread_id))[-2]["checkpoint"]
        asked = plain(await client.runs.wait(thread_id, "approval", checkpoint=beginning))
        assert [interrupt["value"] for interrupt in asked["__interrupt__"]] == [{"question": "May I go?"}]
        ended = await client.runs.wait(thread_id, "approval", command={"resume": "no"})
        assert plain(ended)["answers"] == ["prepared", "no", "finished"]
