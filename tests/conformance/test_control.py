"""Runs that are stopped, asked, answered, sent elsewhere; and what becomes of a second run on the same thread."""

import asyncio
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Command

from tests.conformance.support import asleep, eventually, plain, refused, says


async def ended(client: LangGraphClient, thread_id: str) -> str:
    """Wait until nothing runs on a thread; return its status."""
    thread = await eventually(lambda: client.threads.get(thread_id), lambda thread: thread["status"] != "busy")
    return thread["status"]


class TestCancel:
    async def test_cancel_waits_for_the_interruption(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id)
        await client.runs.cancel(thread_id, run_id, wait=True)
        assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"
        state = await client.threads.get_state(thread_id)
        assert (state["values"], state["next"]) == ({"seconds": 60, "done": ["lie_down"]}, ["sleep"])
        assert await ended(client, thread_id) == "interrupted"

    async def test_cancel_returns_before_the_interruption(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id)
        await client.runs.cancel(thread_id, run_id, action="interrupt")
        assert await ended(client, thread_id) == "interrupted"
        assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"

    async def test_cancelled_thread_continues(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id)
        await client.runs.cancel(thread_id, run_id, wait=True)
        await client.threads.update_state(thread_id, {"seconds": 0}, as_node="lie_down")
        assert plain(await client.runs.wait(thread_id, "slow"))["done"] == ["lie_down", "sleep"]

    @pytest.mark.parametrize(
        "wait", [True, pytest.param(False, marks=pytest.mark.reference_differs("it leaves the thread busy for ever"))]
    )
    async def test_cancel_with_rollback_restores_the_thread(
        self, client: LangGraphClient, thread_id: str, wait: bool
    ) -> None:
        await client.runs.wait(thread_id, "slow", input={"seconds": 0})
        before = await client.threads.get_history(thread_id)
        run = await client.runs.create(thread_id, "slow", input={"seconds": 60})
        await eventually(lambda: client.threads.get_state(thread_id), lambda state: state["next"] == ["sleep"])
        await client.runs.cancel(thread_id, run["run_id"], wait=wait, action="rollback")
        assert await ended(client, thread_id) == "idle"
        with refused(404):
            await client.runs.get(thread_id, run["run_id"])
        assert await client.threads.get_history(thread_id) == before

    async def test_cancel_ends_a_join(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id)
        waiting = asyncio.create_task(client.runs.join(thread_id, run_id))
        await asyncio.sleep(0.1)
        await client.runs.cancel(thread_id, run_id)
        assert (await waiting)["done"] == ["lie_down"]

    async def test_pending_run_is_cancelled(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=600)
        await client.runs.cancel(thread_id, run["run_id"], wait=True)
        assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"
        assert await ended(client, thread_id) == "idle"
        assert await client.threads.get_history(thread_id) == []

    @pytest.mark.reference_differs("it leaves the thread busy for ever")
    async def test_pending_run_is_rolled_back(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=600)
        await client.runs.cancel(thread_id, run["run_id"], action="rollback")
        with refused(404):
            await client.runs.get(thread_id, run["run_id"])
        assert (await client.threads.get(thread_id))["status"] == "idle"

    async def test_ended_run_cannot_be_cancelled(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={})
        await client.runs.join(thread_id, run["run_id"])
        with refused(404):
            await client.runs.cancel(thread_id, run["run_id"])
        assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"

    async def test_several_runs_are_cancelled(self, client: LangGraphClient, thread_id: str) -> None:
        first = await asleep(client, thread_id)
        second = (await client.runs.create(thread_id, "slow", input={"seconds": 60}))["run_id"]
        third = (await client.runs.create(thread_id, "slow", input={"seconds": 0}))["run_id"]
        await client.runs.cancel_many(thread_id=thread_id, run_ids=[first, second])
        await client.runs.join(thread_id, third)
        statuses = {run["run_id"]: run["status"] for run in await client.runs.list(thread_id)}
        assert statuses == {first: "interrupted", second: "interrupted", third: "success"}

    @pytest.mark.reference_differs("it leaves the thread busy for ever")
    async def test_several_runs_are_rolled_back(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id)
        await client.runs.cancel_many(thread_id=thread_id, run_ids=[run_id], action="rollback")
        assert await ended(client, thread_id) == "idle"
        assert await client.runs.list(thread_id) == []

    async def test_invalid_bulk_cancel_is_rejected(self, client: LangGraphClient, thread_id: str, unknown: str) -> None:
        with refused(422):
            await client.runs.cancel_many()
        with refused(422):
            await client.runs.cancel_many(thread_id=thread_id, run_ids=[unknown], status="all")
        with refused(404):
            await client.runs.cancel_many(thread_id=thread_id, run_ids=[unknown])


class TestMultitaskStrategy:
    """The treatment of a run on a thread with an unfinished one."""

    async def test_enqueued_run_waits_for_the_first(self, client: LangGraphClient, thread_id: str) -> None:
        first = await asleep(client, thread_id, seconds=5)
        second = await client.runs.create(thread_id, "slow", input={"seconds": 0}, multitask_strategy="enqueue")
        assert (await client.runs.get(thread_id, second["run_id"]))["status"] == "pending"
        last = await client.runs.join(thread_id, second["run_id"])
        assert last["done"] == ["lie_down", "sleep", "lie_down", "sleep"]
        assert (await client.runs.get(thread_id, first))["status"] == "success"

    async def test_enqueued_runs_execute_in_order(self, client: LangGraphClient, thread_id: str) -> None:
        runs = [await client.runs.create(thread_id, "echo", input=says(f"{n}")) for n in range(4)]
        last = await client.runs.join(thread_id, runs[-1]["run_id"])
        contents = [message["content"] for message in last["messages"]]
        assert contents == ["0", "Echo: 0", "1", "Echo: 1", "2", "Echo: 2", "3", "Echo: 3"]

    async def test_reject_refuses_the_second_run(self, client: LangGraphClient, thread_id: str) -> None:
        first = await asleep(client, thread_id)
        with refused(409):
            await client.runs.create(thread_id, "slow", input={"seconds": 0}, multitask_strategy="reject")
        with refused(409):
            await client.runs.wait(thread_id, "slow", input={"seconds": 0}, multitask_strategy="reject")
        assert [run["run_id"] for run in await client.runs.list(thread_id)] == [first]
        await client.runs.cancel(thread_id, first, wait=True)
        await client.runs.wait(thread_id, "slow", input={"seconds": 0}, multitask_strategy="reject")

    async def test_interrupt_stops_the_first_run(self, client: LangGraphClient, thread_id: str) -> None:
        first = await asleep(client, thread_id)
        second = await client.runs.create(thread_id, "slow", input={"seconds": 0}, multitask_strategy="interrupt")
        last = await client.runs.join(thread_id, second["run_id"])
        assert last["done"] == ["lie_down", "lie_down", "sleep"]
        assert (await client.runs.get(thread_id, first))["status"] == "interrupted"
        assert await ended(client, thread_id) == "idle"

    async def test_rollback_deletes_the_first_run(self, client: LangGraphClient, thread_id: str) -> None:
        first = await asleep(client, thread_id)
        second = await client.runs.create(thread_id, "slow", input={"seconds": 0}, multitask_strategy="rollback")
        last = await client.runs.join(thread_id, second["run_id"])
        assert last["done"] == ["lie_down", "sleep"]
        with refused(404):
            await client.runs.get(thread_id, first)
        assert len(await client.threads.get_history(thread_id)) == 4

    async def test_strategy_ignores_other_threads(self, client: LangGraphClient, thread_id: str) -> None:
        first = await asleep(client, thread_id)
        other = (await client.threads.create())["thread_id"]
        await client.runs.wait(other, "slow", input={"seconds": 0}, multitask_strategy="reject")
        await client.runs.cancel(thread_id, first, wait=True)


class TestResume:
    async def test_resume_continues_the_run(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "approval", input={"topic": "go"})
        done = plain(await client.runs.wait(thread_id, "approval", command={"resume": {"approved": True}}))
        assert done["answers"] == ["prepared", {"approved": True}, "finished"]
        assert await ended(client, thread_id) == "idle"
        assert (await client.threads.get(thread_id))["interrupts"] == {}

    async def test_resume_answers_successive_interrupts(self, client: LangGraphClient, thread_id: str) -> None:
        first = plain(await client.runs.wait(thread_id, "twice", input={}))
        assert [interrupt["value"] for interrupt in first["__interrupt__"]] == ["first"]
        second = plain(await client.runs.wait(thread_id, "twice", command={"resume": 1}))
        assert [interrupt["value"] for interrupt in second["__interrupt__"]] == ["second"]
        assert plain(await client.runs.wait(thread_id, "twice", command={"resume": 2}))["answers"] == [1, 2]

    async def test_resume_answers_several_interrupts(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = plain(await client.runs.wait(thread_id, "several", input={}))
        answers = {interrupt["id"]: f"to {interrupt['value']}" for interrupt in stopped["__interrupt__"]}
        done = plain(await client.runs.wait(thread_id, "several", command={"resume": answers}))
        assert sorted(done["answers"]) == ["left: to left", "right: to right"]

    async def test_resume_answers_one_of_several_interrupts(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = plain(await client.runs.wait(thread_id, "several", input={}))
        left, right = sorted(stopped["__interrupt__"], key=lambda interrupt: str(interrupt["value"]))
        rest = plain(await client.runs.wait(thread_id, "several", command={"resume": {left["id"]: "l"}}))
        assert [interrupt["value"] for interrupt in rest["__interrupt__"]] == ["right"]
        done = plain(await client.runs.wait(thread_id, "several", command={"resume": {right["id"]: "r"}}))
        assert sorted(done["answers"]) == ["left: l", "right: r"]

    async def test_resume_reaches_a_subgraph(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = plain(await client.runs.wait(thread_id, "nested", input={"ask": True}))
        assert [interrupt["value"] for interrupt in stopped["__interrupt__"]] == ["Which way?"]
        done = plain(await client.runs.wait(thread_id, "nested", command={"resume": "left"}))
        assert done["trail"] == ["begin", "down", "left"]

    async def test_graph_that_a_node_calls_synchronously_is_resumed(
        self, client: LangGraphClient, thread_id: str
    ) -> None:
        await client.runs.wait(thread_id, "calling", input={"ask": True})
        state = await client.threads.get_state(thread_id)
        assert [interrupt["value"] for interrupt in state["interrupts"]] == ["Which way?"]
        done = plain(await client.runs.wait(thread_id, "calling", command={"resume": "left"}))
        assert done["trail"] == ["left"]

    async def test_resume_with_an_update(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "approval", input={"topic": "go"})
        command: Any = {"resume": "yes", "update": {"topic": "stay"}}
        done = plain(await client.runs.wait(thread_id, "approval", command=command))
        assert (done["topic"], done["answers"]) == ("stay", ["prepared", "yes", "finished"])


class TestCommand:
    async def test_goto_continues_at_a_node(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "counter", input={})
        for goto in ("three", ["three"]):
            await client.runs.wait(thread_id, "counter", command={"goto": goto})
        state = plain((await client.threads.get_state(thread_id))["values"])
        assert state["trail"] == ["one", "two", "three", "three", "three"]

    async def test_goto_sends_an_input_to_a_node(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "approval", input={"topic": "go"})
        await client.runs.wait(thread_id, "approval", command={"resume": "yes"})
        command: Any = {"goto": {"node": "ask", "input": {"topic": "stay"}}}
        stopped = plain(await client.runs.wait(thread_id, "approval", command=command))
        assert [interrupt["value"] for interrupt in stopped["__interrupt__"]] == [{"question": "May I stay?"}]

    @pytest.mark.parametrize("command", [{"update": {"count": 50}}, {"update": [["count", 50]]}])
    async def test_command_updates_the_state(self, client: LangGraphClient, thread_id: str, command: Command) -> None:
        await client.runs.wait(thread_id, "counter", input={})
        done = plain(await client.runs.wait(thread_id, "counter", command={**command, "goto": "two"}))
        assert done == {"count": 55, "trail": ["one", "two", "three", "two", "three"]}


class TestBreakpoints:
    """Interrupts that the caller asks for."""

    async def test_run_stops_before_a_node(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = await client.runs.wait(thread_id, "counter", input={}, interrupt_before=["two"])
        assert stopped == {"count": 1, "trail": ["one"]}
        assert (await client.threads.get_state(thread_id))["next"] == ["two"]
        assert await ended(client, thread_id) == "interrupted"
        assert plain(await client.runs.wait(thread_id, "counter"))["count"] == 3

    async def test_run_stops_after_a_node(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = await client.runs.wait(thread_id, "counter", input={}, interrupt_after=["two"])
        assert stopped == {"count": 2, "trail": ["one", "two"]}
        assert (await client.threads.get_state(thread_id))["next"] == ["three"]

    async def test_run_stops_at_every_node(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "counter", input={}, interrupt_before="*")
        for node in ("one", "two", "three"):
            assert (await client.threads.get_state(thread_id))["next"] == [node]
            await client.runs.wait(thread_id, "counter", interrupt_before="*")
        assert (await client.threads.get_state(thread_id))["next"] == []
