"""Cancellations of every run on the server: nothing else may run at the same time."""

from langgraph_sdk.client import LangGraphClient

from tests.conformance.support import asleep, eventually, refused


async def test_pending_runs_are_cancelled(client: LangGraphClient, thread_id: str) -> None:
    pending = await client.runs.create(thread_id, "counter", input={}, after_seconds=600)
    await client.runs.cancel_many(status="pending")
    assert (await client.runs.get(thread_id, pending["run_id"]))["status"] == "interrupted"
    with refused(404):
        await client.runs.cancel_many(status="pending")


async def test_running_runs_are_cancelled(client: LangGraphClient, thread_id: str) -> None:
    running = await asleep(client, thread_id)
    pending = (await client.runs.create(thread_id, "slow", input={"seconds": 0}))["run_id"]
    await client.runs.cancel_many(status="running")
    await client.runs.join(thread_id, pending)
    assert (await client.runs.get(thread_id, running))["status"] == "interrupted"
    assert (await client.runs.get(thread_id, pending))["status"] == "success"


async def test_all_runs_are_cancelled(client: LangGraphClient, thread_id: str) -> None:
    running = await asleep(client, thread_id)
    pending = (await client.runs.create(thread_id, "slow", input={"seconds": 0}))["run_id"]
    await client.runs.cancel_many(status="all")
    await eventually(lambda: client.threads.get(thread_id), lambda thread: thread["status"] != "busy")
    for run_id in (running, pending):
        assert (await client.runs.get(thread_id, run_id))["status"] == "interrupted"
