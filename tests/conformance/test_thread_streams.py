"""A thread's own stream: everything that happens on it, started by any client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart, ThreadStreamMode

from tests.conformance.support import collect, data, take


def run_done(run_id: str) -> Callable[[StreamPart], bool]:
    return lambda part: (
        part.event == "metadata" and part.data.get("status") == "run_done" and part.data["run_id"] == run_id
    )


async def watched(
    client: LangGraphClient, thread_id: str, mode: ThreadStreamMode, graph: str = "counter"
) -> list[StreamPart]:
    """Run a graph; return what the thread's stream says from the run's start to its end."""
    run = await client.runs.create(thread_id, graph, input={}, after_seconds=5)
    stream = await client.threads.join_stream(thread_id, stream_mode=mode)
    parts = await take(stream, run_done(run["run_id"]))
    await _close(stream)
    return parts


async def test_thread_stream_has_a_run(client: LangGraphClient, thread_id: str) -> None:
    parts = await watched(client, thread_id, "run_modes")
    assert [part.event for part in parts] == ["metadata", "values", "values", "values", "metadata"]
    assert data(parts, "values")[-1] == {"count": 3, "trail": ["one", "two", "three"]}
    assert all(part.id for part in parts)
    run_id = parts[-1].data["run_id"]
    assert parts[0].data["run_id"] == run_id
    assert (await client.runs.get(thread_id, run_id))["status"] == "success"


async def test_thread_stream_has_several_runs(client: LangGraphClient, thread_id: str) -> None:
    first = await client.runs.create(thread_id, "counter", input={}, after_seconds=5)
    second = await client.runs.create(thread_id, "echo", input={"messages": ["Hi"]}, after_seconds=5)  # type: ignore[dict-item]  # it may
    stream = await client.threads.join_stream(thread_id)
    parts = await take(stream, run_done(second["run_id"]))
    await _close(stream)
    done = [part.data["run_id"] for part in parts if part.data.get("status") == "run_done"]
    assert done == [first["run_id"], second["run_id"]]


async def test_thread_stream_has_the_error_of_a_run(client: LangGraphClient, thread_id: str) -> None:
    parts = await watched(client, thread_id, "run_modes", "failing")
    assert data(parts, "error") == [{"error": "ValueError", "message": "It is broken."}]


@pytest.mark.parametrize(
    "last",
    [
        "-",
        "0",
        "1-0",
        *(
            pytest.param(last, marks=pytest.mark.reference_differs("it rejects ids of other forms"))
            for last in ("-1", "yesterday")
        ),
    ],
)
async def test_thread_stream_starts_from_the_beginning_after_an_event_of_another_stream(
    client: LangGraphClient, thread_id: str, last: str
) -> None:
    streamed = await collect(client.runs.stream(thread_id, "counter", input={}, stream_resumable=True))
    stream = await client.threads.join_stream(thread_id, last_event_id=last)
    parts = await take(stream, run_done(streamed[0].data["run_id"]))
    await _close(stream)
    assert data(parts, "values") == data(streamed, "values")


@pytest.mark.reference_differs("it takes its modes under another name than the client sends")
async def test_lifecycle_mode_has_starts_and_ends_only(client: LangGraphClient, thread_id: str) -> None:
    parts = await watched(client, thread_id, "lifecycle")
    assert [part.event for part in parts] == ["metadata", "metadata"]
    assert parts[0].data["run_id"] == parts[1].data["run_id"]


@pytest.mark.reference_differs("it takes its modes under another name than the client sends")
async def test_state_update_mode_has_changes_only(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "counter", input={})

    async def change() -> None:
        while True:
            await client.threads.update_state(thread_id, {"count": 10}, as_node="three")
            await asyncio.sleep(0.1)

    changing = asyncio.create_task(change())
    stream = await client.threads.join_stream(thread_id, stream_mode="state_update")
    parts = await take(stream, lambda part: part.event == "state_update")
    changing.cancel()
    await _close(stream)
    assert len(parts) == 1
    told: Any = parts[0].data
    assert told["thread_id"] == thread_id
    assert told["state"]["values"]["count"] % 10 == 3


@pytest.mark.reference_differs("it takes its modes under another name than the client sends")
async def test_unknown_mode_is_rejected(http: httpx2.AsyncClient, thread_id: str) -> None:
    async with http.stream("GET", f"/threads/{thread_id}/stream", params={"stream_mode": "thoughts"}) as answer:
        assert answer.status_code == 422


@pytest.mark.reference_differs("it waits for a thread of that id to come")
async def test_unknown_thread_is_404(http: httpx2.AsyncClient, unknown: str) -> None:
    async with http.stream("GET", f"/threads/{unknown}/stream") as answer:
        assert answer.status_code == 404


async def _close(stream: AsyncIterator[StreamPart]) -> None:
    """Go away: the client's streams are generators, and close their connection with themselves."""
    await stream.aclose()  # type: ignore[attr-defined]  # the client returns an async generator
