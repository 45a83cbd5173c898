"""The stream of a run: in every mode, in several at once, from subgraphs, and again to a client that comes back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import RunCreateMetadata, StreamMode, StreamPart

from tests.conformance.support import asleep, collect, data, eventually, plain, refused, said, says, take


def names(parts: list[StreamPart]) -> list[str]:
    return [part.event for part in parts]


def trails(parts: list[StreamPart]) -> list[list[str]]:
    return [values["trail"] for values in data(parts, "values")]


COUNTED = [["one"], ["one", "two"], ["one", "two", "three"]]


async def of_run(
    client: LangGraphClient, thread_id: str, graph: str, mode: StreamMode, given: dict[str, Any]
) -> list[StreamPart]:
    return await collect(client.runs.stream(thread_id, graph, input=given, stream_mode=mode))


class TestModes:
    """Each alone, on a thread."""

    async def test_metadata_is_the_first_event(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "counter", "values", {})
        (run,) = await client.runs.list(thread_id)
        assert parts[0].event == "metadata"
        assert parts[0].data["run_id"] == run["run_id"]
        assert run["status"] == "success"

    async def test_values_mode(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "echo", "values", says("Hello"))
        assert names(parts) == ["metadata", "values", "values"]
        first, last = data(parts, "values")
        assert said(first) == [("human", "Hello")]
        assert said(last) == [("human", "Hello"), ("ai", "Echo: Hello")]

    async def test_updates_mode(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "counter", "updates", {})
        assert names(parts) == ["metadata", "updates", "updates", "updates"]
        assert data(parts, "updates") == [{node: {"count": 1, "trail": [node]}} for node in ("one", "two", "three")]

    async def test_custom_mode(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "progress", "custom", {})
        assert names(parts) == ["metadata", "custom", "custom", "custom"]
        assert data(parts, "custom") == [{"part": 0}, {"part": 1}, {"part": 2}]

    async def test_messages_mode(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "chat", "messages", says("Hello"))
        (metadata,) = data(parts, "messages/metadata")
        ((message_id, about),) = metadata.items()
        assert about["metadata"]["langgraph_node"] == "model"
        partial = data(parts, "messages/partial")
        assert all(len(messages) == 1 for messages in partial)
        assert {messages[0]["id"] for messages in partial} == {message_id}
        contents = [messages[0]["content"] for messages in partial]
        assert contents[:3] == ["One ", "One two ", "One two three."]
        assert contents[-1] == "One two three."
        assert names(parts).index("messages/metadata") < names(parts).index("messages/partial")

    async def test_messages_mode_with_a_tool_call(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "chat", "messages", says("The sum, please."))
        called = [messages[0] for messages in data(parts, "messages/partial") if messages[0]["tool_calls"]]
        assert [call["args"] for call in called[-1]["tool_calls"]] == [{"a": 2, "b": 3}]
        (whole,) = data(parts, "messages/complete")
        assert [(message["type"], message["content"]) for message in whole] == [("tool", "5")]
        assert data(parts, "messages/partial")[-1][0]["content"] == "The sum is 5."

    async def test_messages_tuple_mode(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "chat", "messages-tuple", says("The sum, please."))
        pairs = data(parts, "messages")
        assert {metadata["langgraph_node"] for _, metadata in pairs} == {"model", "tools"}
        chunks = [message for message, _ in pairs if message["type"] == "AIMessageChunk"]
        arguments = [call["args"] for chunk in chunks for call in chunk["tool_call_chunks"]]
        assert arguments == ["", '{"a": 2, ', '"b": 3}']
        assert "".join(chunk["content"] for chunk in chunks) == "The sum is 5."
        assert [message["content"] for message, _ in pairs if message["type"] == "tool"] == ["5"]
        assert set(names(parts)) == {"metadata", "messages"}

    async def test_events_mode(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "chat", "events", says("Hello"))
        events = data(parts, "events")
        assert set(names(parts)) == {"metadata", "events"}
        assert {
            "on_chain_start",
            "on_chat_model_start",
            "on_chat_model_stream",
            "on_chat_model_end",
            "on_chain_end",
        } <= {event["event"] for event in events}
        spoken = [event["data"]["chunk"]["content"] for event in events if event["event"] == "on_chat_model_stream"]
        assert "".join(spoken) == "One two three."
        (run,) = await client.runs.list(thread_id)
        assert events[0]["run_id"] == run["run_id"]

    async def test_tasks_mode(self, client: LangGraphClient, thread_id: str) -> None:
        tasks = data(await of_run(client, thread_id, "counter", "tasks", {}), "tasks")
        begun = [task for task in tasks if "input" in task]
        done = [task for task in tasks if "result" in task]
        assert [task["name"] for task in begun] == [task["name"] for task in done] == ["one", "two", "three"]
        assert [task["id"] for task in begun] == [task["id"] for task in done]
        assert done[0]["result"] == {"count": 1, "trail": ["one"]}
        assert all(task["error"] is None and task["interrupts"] == [] for task in done)

    async def test_checkpoints_mode(self, client: LangGraphClient, thread_id: str) -> None:
        checkpoints = data(await of_run(client, thread_id, "counter", "checkpoints", {}), "checkpoints")
        assert [checkpoint["next"] for checkpoint in checkpoints][-3:] == [["two"], ["three"], []]
        assert checkpoints[-1]["values"] == {"count": 3, "trail": ["one", "two", "three"]}
        state = await client.threads.get_state(thread_id)
        configurable = checkpoints[-1]["config"]["configurable"]
        assert configurable["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
        assert checkpoints[-1]["metadata"]["step"] == 3

    async def test_debug_mode(self, client: LangGraphClient, thread_id: str) -> None:
        debug = data(await of_run(client, thread_id, "counter", "debug", {}), "debug")
        kinds = {kind: [one for one in debug if one["type"] == kind] for kind in ("task", "task_result", "checkpoint")}
        assert [one["payload"]["name"] for one in kinds["task"]] == ["one", "two", "three"]
        assert [one["payload"]["name"] for one in kinds["task_result"]] == ["one", "two", "three"]
        assert [one["step"] for one in kinds["task"]] == [1, 2, 3]
        last = kinds["checkpoint"][-1]["payload"]
        assert (last["values"], last["next"]) == ({"count": 3, "trail": ["one", "two", "three"]}, [])
        state = await client.threads.get_state(thread_id)
        assert last["checkpoint"]["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]

    async def test_several_modes(self, client: LangGraphClient, thread_id: str) -> None:
        modes: list[StreamMode] = ["values", "updates", "custom", "tasks", "messages-tuple"]
        parts = await collect(client.runs.stream(thread_id, "progress", input={}, stream_mode=modes))
        assert set(names(parts)) == {"metadata", "values", "updates", "custom", "tasks"}
        assert data(parts, "custom") == [{"part": 0}, {"part": 1}, {"part": 2}]
        assert data(parts, "updates") == [{"report": {"count": 1}}]
        assert data(parts, "values")[-1]["count"] == 1

    async def test_all_modes(self, client: LangGraphClient, thread_id: str) -> None:
        modes: list[StreamMode] = ["values", "messages", "updates", "events", "tasks", "checkpoints", "debug", "custom"]
        parts = await collect(client.runs.stream(thread_id, "chat", input=says("Hello"), stream_mode=modes))
        expected = {*modes, "metadata", "messages/metadata", "messages/partial"} - {"messages", "custom"}
        assert set(names(parts)) == expected


class TestEnds:
    async def test_stream_ends_with_an_error(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "failing", "values", {})
        assert parts[-1].event == "error"
        assert parts[-1].data == {"error": "ValueError", "message": "It is broken."}
        (run,) = await client.runs.list(thread_id)
        assert run["status"] == "error"

    @pytest.mark.parametrize("mode", ["values", "updates"])
    async def test_stream_ends_with_an_interrupt(
        self, client: LangGraphClient, thread_id: str, mode: StreamMode
    ) -> None:
        parts = await of_run(client, thread_id, "approval", mode, {"topic": "go"})
        (interrupt,) = parts[-1].data["__interrupt__"]
        assert parts[-1].event == mode
        assert interrupt["value"] == {"question": "May I go?"}
        (pending,) = (await client.threads.get_state(thread_id))["interrupts"]
        assert interrupt["id"] == pending["id"]

    async def test_stream_ends_with_several_interrupts(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "several", "updates", {})
        interrupts = [one for update in data(parts, "updates") for one in update.get("__interrupt__", [])]
        assert {interrupt["value"] for interrupt in interrupts} == {"left", "right"}

    async def test_stream_ends_at_a_breakpoint(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await collect(client.runs.stream(thread_id, "counter", input={}, interrupt_before=["two"]))
        assert trails(parts)[-1] == ["one"]
        parts = await collect(client.runs.stream(thread_id, "counter", interrupt_after=["two"]))
        assert trails(parts)[-1] == ["one", "two"]

    async def test_resumed_stream_ends(self, client: LangGraphClient, thread_id: str) -> None:
        await of_run(client, thread_id, "approval", "values", {"topic": "go"})
        command: Any = {"resume": "yes"}
        parts = await collect(client.runs.stream(thread_id, "approval", command=command, stream_mode="updates"))
        assert data(parts, "updates") == [{"ask": {"answers": ["yes"]}}, {"finish": {"answers": ["finished"]}}]

    async def test_stream_ends_when_the_run_is_cancelled(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(thread_id, "slow", input={"seconds": 60}, stream_mode="custom")
        begun = await take(stream, lambda part: part.event == "custom")
        await client.runs.cancel(thread_id, begun[0].data["run_id"])
        assert "error" not in names(await collect(stream))

    async def test_invalid_stream_request_is_rejected(
        self, client: LangGraphClient, thread_id: str, unknown: str
    ) -> None:
        with refused(422):
            await collect(client.runs.stream(thread_id, "no-such-graph", input={}))
        with refused(404):
            await collect(client.runs.stream(unknown, "counter", input={}))


class TestVersion2:
    """The client's own reading of the same events."""

    async def test_version_2_has_typed_parts(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(thread_id, "nested", input={}, stream_subgraphs=True, version="v2")
        parts = [plain(part) for part in await collect(stream)]
        assert parts[0]["type"] == "metadata"
        values = [part for part in parts if part["type"] == "values"]
        assert values[-1]["ns"] == []
        assert values[-1]["data"]["trail"] == ["begin", "down", "bottom"]
        assert {len(part["ns"]) for part in values} == {0, 1, 2}

    async def test_version_2_has_interrupts(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(thread_id, "approval", input={"topic": "go"}, version="v2")
        last = plain((await collect(stream))[-1])
        assert [interrupt["value"] for interrupt in last["interrupts"]] == [{"question": "May I go?"}]
        assert "__interrupt__" not in last["data"]


class TestSubgraphs:
    async def test_subgraphs_are_omitted_by_default(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await of_run(client, thread_id, "nested", "updates", {})
        assert [set(update) for update in data(parts, "updates")] == [{"begin"}, {"middle"}]

    async def test_subgraphs_are_streamed_on_request(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await collect(
            client.runs.stream(thread_id, "nested", input={}, stream_mode="updates", stream_subgraphs=True)
        )
        places = [part.event.split("|") for part in parts if part.event != "metadata"]
        assert {mode for mode, *_ in places} == {"updates"}
        shapes = [tuple(segment.split(":")[0] for segment in namespace) for _, *namespace in places]
        assert shapes == [(), ("middle",), ("middle", "inner"), ("middle",), ()]

    async def test_interrupts_of_subgraphs_are_streamed(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(thread_id, "nested", input={"ask": True}, stream_subgraphs=True)
        parts = await collect(stream)
        asking = [part.event.count("|") for part in parts if "__interrupt__" in part.data]
        assert set(asking) >= {0, 2}


class TestStateless:
    async def test_stateless_run_streams_values(self, client: LangGraphClient) -> None:
        made: list[RunCreateMetadata] = []
        parts = await collect(client.runs.stream(None, "counter", input={}, on_run_created=made.append))
        assert trails(parts) == COUNTED
        assert made[0]["run_id"] == parts[0].data["run_id"]

    async def test_stateless_run_streams_its_error(self, client: LangGraphClient) -> None:
        parts = await collect(client.runs.stream(None, "failing", input={}))
        assert parts[-1].data == {"error": "ValueError", "message": "It is broken."}

    async def test_stateless_run_streams_subgraphs(self, client: LangGraphClient) -> None:
        parts = await collect(client.runs.stream(None, "nested", input={}, stream_subgraphs=True))
        assert {part.event.count("|") for part in parts} == {0, 1, 2}


class TestHeaders:
    async def test_headers_name_the_run(self, client: LangGraphClient, thread_id: str) -> None:
        made: list[RunCreateMetadata] = []
        parts = await collect(client.runs.stream(thread_id, "counter", input={}, on_run_created=made.append))
        assert made == [{"run_id": parts[0].data["run_id"], "thread_id": thread_id}]

    async def test_headers_have_the_location(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        body = {"assistant_id": "counter", "input": {}}
        answer = await http.post(f"/threads/{thread_id}/runs/stream", json=body)
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        run = answer.headers["Content-Location"]
        assert run.startswith(f"/threads/{thread_id}/runs/")
        assert answer.headers["Location"] == f"{run}/stream"
        assert answer.headers["Cache-Control"] == "no-store"

    async def test_resumable_stream_has_event_ids(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await collect(client.runs.stream(thread_id, "counter", input={}, stream_resumable=True))
        assert all(part.id for part in parts)


class TestJoin:
    """Reading a run's stream without having started it."""

    async def test_join_of_a_running_run(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id, seconds=2, stream_mode=["values", "custom"])
        parts = await collect(client.runs.join_stream(thread_id, run_id))
        assert parts[-1].event == "values"
        assert parts[-1].data["done"] == ["lie_down", "sleep"]

    async def test_join_of_a_pending_run(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=1)
        assert trails(await collect(client.runs.join_stream(thread_id, run["run_id"]))) == COUNTED

    async def test_join_selects_one_mode(self, client: LangGraphClient, thread_id: str) -> None:
        modes: list[StreamMode] = ["values", "updates"]
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=1, stream_mode=modes)
        parts = await collect(client.runs.join_stream(thread_id, run["run_id"], stream_mode="updates"))
        assert names([part for part in parts if part.event != "metadata"]) == ["updates"] * 3

    @pytest.mark.reference_differs("of several modes it takes the last")
    async def test_join_selects_several_modes(self, client: LangGraphClient, thread_id: str) -> None:
        modes: list[StreamMode] = ["values", "updates", "tasks"]
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=1, stream_mode=modes)
        parts = await collect(client.runs.join_stream(thread_id, run["run_id"], stream_mode=modes[:2]))
        assert set(names(parts)) - {"metadata"} == {"values", "updates"}

    async def test_join_replays_from_the_start(self, client: LangGraphClient, thread_id: str) -> None:
        first = await collect(client.runs.stream(thread_id, "counter", input={}, stream_resumable=True))
        run_id = first[0].data["run_id"]
        again = await collect(client.runs.join_stream(thread_id, run_id, last_event_id="-"))
        assert [(part.event, part.data) for part in again] == [(part.event, part.data) for part in first]

    async def test_join_resumes_after_the_last_event(self, client: LangGraphClient, thread_id: str) -> None:
        first = await collect(client.runs.stream(thread_id, "counter", input={}, stream_resumable=True))
        run_id, left = first[0].data["run_id"], first[1]
        rest = await collect(client.runs.join_stream(thread_id, run_id, last_event_id=left.id))
        assert trails(rest) == COUNTED[1:]
        ended = await collect(client.runs.join_stream(thread_id, run_id, last_event_id=first[-1].id))
        assert ended == []

    async def test_join_resumes_a_running_run(self, client: LangGraphClient, thread_id: str) -> None:
        modes: list[StreamMode] = ["values", "custom"]
        stream = client.runs.stream(
            thread_id, "slow", input={"seconds": 1}, stream_mode=modes, stream_resumable=True, on_disconnect="continue"
        )
        seen = await take(stream, lambda part: part.event == "custom")
        await _close(stream)
        run_id = seen[0].data["run_id"]
        rest = await collect(client.runs.join_stream(thread_id, run_id, last_event_id=seen[-1].id))
        assert [part.data.get("done") for part in rest] == [["lie_down", "sleep"]]

    @pytest.mark.ours_differs("it keeps the events of every run for a while, for clients that come late")
    async def test_join_of_an_ended_run_is_empty(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={})
        await client.runs.join(thread_id, run["run_id"])
        assert await collect(client.runs.join_stream(thread_id, run["run_id"])) == []

    @pytest.mark.reference_differs("it answers 200 with an error inside")
    async def test_join_of_unknown_run_is_404(self, client: LangGraphClient, thread_id: str, unknown: str) -> None:
        with refused(404):
            await collect(client.runs.join_stream(thread_id, unknown))

    async def test_several_clients_join_a_run(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=1)
        streams = [collect(client.runs.join_stream(thread_id, run["run_id"])) for _ in range(2)]
        for parts in await asyncio.gather(*streams):
            assert trails(parts) == COUNTED

    @pytest.mark.parametrize(
        "last",
        [
            "-1",
            "0-1",
            pytest.param("", marks=pytest.mark.reference_differs("it sends no events")),
            pytest.param("of another stream", marks=pytest.mark.reference_differs("it refuses ids of other forms")),
        ],
    )
    async def test_unknown_last_event_means_the_beginning(
        self, client: LangGraphClient, thread_id: str, last: str
    ) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, stream_resumable=True)
        await client.runs.join(thread_id, run["run_id"])
        parts = await collect(client.runs.join_stream(thread_id, run["run_id"], last_event_id=last))
        assert trails(parts) == COUNTED


class TestNewerModes:
    """The stream modes that the client names and LangGraph's development server has in its protocol only."""

    @pytest.mark.reference_differs("it refuses the mode")
    async def test_tools_of_a_run(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(thread_id, "chat", input=says("The sum, please."), stream_mode="tools")
        started, ended = data(await collect(stream), "tools")
        assert started == {
            "event": "on_tool_start",
            "toolCallId": "call-1",
            "name": "add",
            "input": {"a": 2, "b": 3},
        }
        assert (ended["event"], ended["toolCallId"], ended["name"]) == ("on_tool_end", "call-1", "add")
        assert ended["output"]["content"] == "5"

    @pytest.mark.reference_differs("it refuses the mode")
    async def test_lifecycles_of_subgraphs(self, client: LangGraphClient, thread_id: str) -> None:
        parts = await collect(client.runs.stream(thread_id, "nested", input={}, stream_mode=["lifecycle", "values"]))
        seen = [
            (part.event.split("|")[0], part.data["event"], [name.split(":")[0] for name in part.data["namespace"]])
            for part in parts
            if part.event.startswith("lifecycle")
        ]
        assert seen == [
            ("lifecycle", "started", ["middle"]),
            ("lifecycle", "started", ["middle", "inner"]),
            ("lifecycle", "completed", ["middle", "inner"]),
            ("lifecycle", "completed", ["middle"]),
        ]
        assert {part.event for part in parts if part.event.startswith("values")} == {"values"}

    @pytest.mark.reference_differs("it refuses the mode")
    async def test_lifecycle_of_an_interrupted_subgraph(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(thread_id, "nested", input={"ask": True}, stream_mode="lifecycle")
        ends = [part.data["event"] for part in await collect(stream) if part.event.startswith("lifecycle")]
        assert ends == ["started", "started", "interrupted", "interrupted"]


class TestDisconnect:
    """The effect of a client's disconnect on its run."""

    async def test_disconnect_cancels_the_run_on_request(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(
            thread_id, "slow", input={"seconds": 60}, stream_mode="custom", on_disconnect="cancel"
        )
        await take(stream, lambda part: part.event == "custom")
        await _close(stream)
        await eventually(lambda: client.threads.get(thread_id), lambda thread: thread["status"] == "interrupted")
        assert [run["status"] for run in await client.runs.list(thread_id)] == ["interrupted"]

    async def test_disconnect_can_leave_the_run_running(self, client: LangGraphClient, thread_id: str) -> None:
        stream = client.runs.stream(
            thread_id, "slow", input={"seconds": 1}, stream_mode="custom", on_disconnect="continue"
        )
        await take(stream, lambda part: part.event == "custom")
        await _close(stream)
        thread = await eventually(lambda: client.threads.get(thread_id), lambda thread: thread["status"] != "busy")
        assert plain(thread["values"])["done"] == ["lie_down", "sleep"]

    async def test_disconnect_cancels_a_joined_run_on_request(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "slow", input={"seconds": 60}, stream_mode="custom", after_seconds=1)
        stream = client.runs.join_stream(thread_id, run["run_id"], cancel_on_disconnect=True)
        await take(stream, lambda part: part.event == "custom")
        await _close(stream)
        await eventually(lambda: client.threads.get(thread_id), lambda thread: thread["status"] == "interrupted")

    async def test_disconnect_leaves_a_joined_run_by_default(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "slow", input={"seconds": 1}, stream_mode="custom", after_seconds=1)
        stream = client.runs.join_stream(thread_id, run["run_id"])
        await take(stream, lambda part: part.event == "custom")
        await _close(stream)
        assert (await client.runs.join(thread_id, run["run_id"]))["done"] == ["lie_down", "sleep"]


async def _close(stream: AsyncIterator[StreamPart]) -> None:
    """Go away: the client's streams are generators, and close their connection with themselves."""
    await stream.aclose()  # type: ignore[attr-defined]  # the client returns an async generator
