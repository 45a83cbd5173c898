"""The newer clients' protocol: commands for a thread, and one stream of everything that happens on it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import pytest
from langgraph_sdk._async.stream import AsyncThreadStream  # it is exported nowhere else
from langgraph_sdk.client import LangGraphClient

from tests.conformance.server import Server
from tests.conformance.support import SECONDS, collect, eventually, plain, refused, said, says, take

COUNTED = {"count": 3, "trail": ["one", "two", "three"]}
Frame = dict[str, Any]


@asynccontextmanager
async def opened(client: LangGraphClient, **options: Any) -> AsyncIterator[AsyncThreadStream]:
    """Open a thread for the block, which has to end."""
    async with asyncio.timeout(SECONDS), client.threads.stream(**options) as stream:
        yield stream
        # In CPython 3.11 `wait_for` loses a cancellation that arrives together with its result: a client that is
        # closed while its stream is opened waits for the stream's end.
        if stream._lifecycle_watcher_handle:
            await asyncio.wait([stream._lifecycle_watcher_handle.ready])
            await asyncio.sleep(0.01)


async def command(http: httpx2.AsyncClient, thread_id: str, method: str, **params: Any) -> Frame:
    """Send a command; return the response's frame."""
    body = {"id": 7, "method": method, "params": params}
    answer = await http.post(f"/threads/{thread_id}/commands", json=body)
    assert answer.status_code == 200
    frame: Frame = answer.json()
    assert frame["id"] == 7
    return frame


async def frames(
    http: httpx2.AsyncClient, thread_id: str, channels: list[str], until: Callable[[Frame], bool], **options: Any
) -> list[Frame]:
    """Read a thread's events as far as the first of which something holds, that one included."""
    body = {"channels": channels, **options}
    async with http.stream("POST", f"/threads/{thread_id}/stream/events", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return await take(_frames(answer.aiter_lines()), until)


async def _frames(lines: AsyncIterator[str]) -> AsyncIterator[Frame]:
    async for line in lines:
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def lifecycle(event: str) -> Callable[[Frame], bool]:
    """Recognise an event in the life of the run itself."""
    return lambda frame: (
        frame["method"] == "lifecycle"
        and not frame["params"]["namespace"]
        and frame["params"]["data"]["event"] == event
    )


def of(found: list[Frame], method: str) -> list[Any]:
    """Return what the events of one method carried."""
    return [frame["params"]["data"] for frame in found if frame["method"] == method]


class TestClient:
    """LangGraph's client of the protocol."""

    @pytest.mark.parametrize("transport", ["sse", "websocket"])
    async def test_run_is_started(
        self, client: LangGraphClient, server: Server, transport: Literal["sse", "websocket"]
    ) -> None:
        headers = server.headers  # the client does not send its own with the handshake
        async with opened(client, assistant_id="counter", transport=transport, headers=headers) as stream:
            started = await stream.run.start(input={}, metadata={"purpose": "count"})
            assert await stream.output == COUNTED
            run = await client.runs.get(stream.thread_id, started["run_id"])
        assert run["status"] == "success"
        assert plain(run["metadata"])["purpose"] == "count"

    async def test_run_is_started_on_an_existing_thread(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "counter", input={})
        async with opened(client, thread_id=thread_id, assistant_id="counter") as stream:
            assert await stream.output == COUNTED
        async with opened(client, thread_id=thread_id, assistant_id="counter") as stream:
            await stream.run.start(input={})
            assert (await stream.output)["count"] == 6

    async def test_run_takes_a_configuration(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="factory") as stream:
            await stream.run.start(input={}, config={"configurable": {"shape": "flat"}})
            assert await stream.output == {"shape": "flat"}

    async def test_run_starts_from_a_checkpoint(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "counter", input={})
        old = (await client.threads.get_history(thread_id))[2]["checkpoint"]["checkpoint_id"]
        async with opened(client, thread_id=thread_id, assistant_id="counter") as stream:
            await stream.run.start(input={"count": 10}, config={"configurable": {"checkpoint_id": old}})
            assert (await stream.output)["count"] == 14

    async def test_client_reads_values(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="counter") as stream:
            await stream.run.start(input={})
            seen = await collect(aiter(stream.values))
        assert seen[-1] == COUNTED

    async def test_client_reads_whole_messages(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="chat") as stream:
            await stream.run.start(input=says("The sum, please."))
            asked, answered = [await message.output for message in await collect(aiter(stream.messages))]
            output = await stream.output
        assert [call["args"] for call in asked.tool_calls] == [{"a": 2, "b": 3}]
        assert answered.text == "The sum is 5."
        assert said(output)[0] == ("human", "The sum, please.")
        assert [message["id"] for message in output["messages"] if message["type"] == "ai"] == [asked.id, answered.id]

    async def test_client_reads_tokens(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="chat") as stream:
            await stream.run.start(input=says("Hello"))
            (message,) = await collect(aiter(stream.messages))
            assert await collect(aiter(message.text)) == ["One ", "two ", "three."]

    async def test_client_reads_tool_calls(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="chat") as stream:
            await stream.run.start(input=says("The sum, please."))
            (call,) = await collect(aiter(stream.tool_calls))
            output = await call.output
        assert (call.name, call.tool_call_id, call.input) == ("add", "call-1", {"a": 2, "b": 3})
        assert output["content"] == "5"

    async def test_client_reads_subgraphs(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="nested") as stream:
            await stream.run.start(input={})
            (middle,) = await collect(aiter(stream.subgraphs))
            assert (await stream.output)["trail"] == ["begin", "down", "bottom"]
        assert middle.graph_name == "middle"
        assert middle.status == "completed"

    async def test_client_reads_projections_in_order(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="counter") as stream:
            await stream.run.start(input={})
            seen = await collect(stream.interleave_projections(["values", "updates"]))
        kinds = [kind for kind, _ in seen]
        assert set(kinds) == {"values", "updates"}
        assert kinds.index("updates") < len(kinds) - 1
        assert [item for kind, item in seen if kind == "values"][-1] == COUNTED

    async def test_client_reads_custom_events(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="progress") as stream:
            await stream.run.start(input={})
            events = await collect(stream.subscribe(["custom"]))
        parts = [event["params"]["data"] for event in events if event["method"] == "custom"]
        assert parts == [{"part": 0}, {"part": 1}, {"part": 2}]

    async def test_client_reads_custom_events_by_name(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="announcing") as stream:
            await stream.run.start(input={})
            assert await collect(aiter(stream.extensions["announced"])) == [{"name": "announced", "part": 1}]

    async def test_client_answers_an_interrupt(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="approval") as stream:
            await stream.run.start(input={"topic": "go"})
            await eventually(lambda: asyncio.sleep(0, stream.interrupts), bool)
            assert stream.interrupted
            await stream.run.respond("yes")
            assert (await stream.output)["answers"] == ["prepared", "yes", "finished"]

    @pytest.mark.reference_differs("it sends the question under another name than this client reads")
    async def test_client_reads_an_interrupt(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="approval") as stream:
            await stream.run.start(input={"topic": "go"})
            (asked,) = await eventually(lambda: asyncio.sleep(0, stream.interrupts), bool)
        assert asked["value"] == {"question": "May I go?"}

    async def test_client_raises_the_runs_error(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="failing") as stream:
            await stream.run.start(input={})
            with pytest.raises(RuntimeError, match="It is broken"):
                await stream.output

    async def test_client_reads_the_graph(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="nested") as stream:
            tree = await stream.agent.get_tree(xray=True)
        assert "middle:inner:bottom" in {node["id"] for node in tree["nodes"]}

    async def test_client_reports_unknown_graph(self, client: LangGraphClient) -> None:
        async with opened(client, assistant_id="no-such-graph") as stream:
            with pytest.raises(Exception, match="no-such-graph"):
                await stream.run.start(input={})


class TestEvents:
    """Bytes of the event stream."""

    async def test_frames_of_a_run(self, http: httpx2.AsyncClient, unknown: str) -> None:
        started = await command(http, unknown, "run.start", assistant_id="counter", input={})
        assert started["type"] == "success"
        assert started["result"]["run_id"]
        found = await frames(http, unknown, ["lifecycle", "values"], lifecycle("completed"))
        assert lifecycle("running")(found[0])
        assert of(found, "values")[-1] == COUNTED
        assert [frame["seq"] for frame in found] == sorted({frame["seq"] for frame in found})
        assert len({frame["event_id"] for frame in found}) == len(found)
        assert all(frame["type"] == "event" and frame["params"]["timestamp"] for frame in found)

    async def test_frames_resume_after_the_last_event(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="counter", input={})
        channels = ["lifecycle", "values"]
        found = await frames(http, unknown, channels, lifecycle("completed"))
        again = await frames(http, unknown, channels, lifecycle("completed"))
        assert [frame["event_id"] for frame in again] == [frame["event_id"] for frame in found]
        rest = await frames(http, unknown, channels, lifecycle("completed"), since=found[1]["seq"])
        assert [frame["event_id"] for frame in rest] == [frame["event_id"] for frame in found[2:]]

    async def test_frames_of_updates(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="counter", input={})
        found = await frames(http, unknown, ["updates", "lifecycle"], lifecycle("completed"))
        assert of(found, "updates") == [{node: {"count": 1, "trail": [node]}} for node in ("one", "two", "three")]

    async def test_frames_of_every_channel(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="counter", input={})
        kinds = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]
        channels = [*kinds, "custom:one"]
        found = await frames(http, unknown, channels, lifecycle("completed"))
        assert {"values", "updates", "lifecycle"} <= {frame["method"] for frame in found}

    async def test_frames_of_messages(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="chat", input=says("Hello"))
        messages = of(await frames(http, unknown, ["messages", "lifecycle"], lifecycle("completed")), "messages")
        kinds = [message["event"] for message in messages]
        assert kinds[:2] == ["message-start", "content-block-start"]
        assert kinds[-2:] == ["content-block-finish", "message-finish"]
        assert messages[0]["role"] == "ai"
        deltas = [message["delta"] for message in messages if message["event"] == "content-block-delta"]
        assert deltas == [{"type": "text-delta", "text": text} for text in ("One ", "two ", "three.")]

    async def test_frames_of_a_tool_call(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="chat", input=says("The sum, please."))
        tools = of(await frames(http, unknown, ["tools", "lifecycle"], lifecycle("completed")), "tools")
        assert [tool["event"] for tool in tools] == ["tool-started", "tool-finished"]
        assert (tools[0]["tool_name"], tools[0]["input"]) == ("add", {"a": 2, "b": 3})

    async def test_frames_of_subgraphs_have_a_namespace(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="nested", input={})
        found = await frames(http, unknown, ["lifecycle"], lifecycle("completed"))
        places = {tuple(part.split(":")[0] for part in frame["params"]["namespace"]) for frame in found}
        assert places == {(), ("middle",), ("middle", "inner")}

    async def test_frames_of_one_namespace(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="nested", input={})
        own = await frames(http, unknown, ["values", "lifecycle"], lifecycle("completed"), namespaces=[[]], depth=0)
        assert all(frame["params"]["namespace"] == [] for frame in own)

    async def test_interrupt_is_answered_by_a_command(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="approval", input={"topic": "go"})
        found = await frames(http, unknown, ["lifecycle", "input"], lifecycle("interrupted"))
        (asked,) = of(found, "input.requested")
        assert asked["payload"] == {"question": "May I go?"}
        answer = {"interrupt_id": asked["interrupt_id"], "namespace": [], "response": "yes"}
        assert (await command(http, unknown, "input.respond", **answer))["type"] == "success"
        found = await frames(http, unknown, ["lifecycle", "values"], lifecycle("completed"))
        assert of(found, "values")[-1]["answers"] == ["prepared", "yes", "finished"]

    @pytest.mark.parametrize("graph", ["form", "sheet"])
    async def test_interrupt_of_a_typed_state_is_answered(
        self, http: httpx2.AsyncClient, unknown: str, graph: str
    ) -> None:
        await command(http, unknown, "run.start", assistant_id=graph, input={"title": "Name"})
        found = await frames(http, unknown, ["lifecycle", "input"], lifecycle("interrupted"))
        (asked,) = of(found, "input.requested")
        answer = {"interrupt_id": asked["interrupt_id"], "namespace": [], "response": "Ada"}
        assert (await command(http, unknown, "input.respond", **answer))["type"] == "success"
        found = await frames(http, unknown, ["lifecycle", "values"], lifecycle("completed"))
        assert of(found, "values")[-1] == {"title": "Name", "answer": "Ada"}

    async def test_several_interrupts_are_answered_by_one_command(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="several", input={})
        left = {"left", "right"}

        def is_last(frame: Frame) -> bool:
            left.discard(frame["params"]["data"]["payload"])
            return not left

        asked = of(await frames(http, unknown, ["input"], is_last), "input.requested")
        answers = [{"interrupt_id": one["interrupt_id"], "namespace": [], "response": one["payload"]} for one in asked]
        assert (await command(http, unknown, "input.respond", responses=answers))["type"] == "success"
        found = await frames(http, unknown, ["lifecycle", "values"], lifecycle("completed"))
        assert sorted(of(found, "values")[-1]["answers"]) == ["left: left", "right: right"]

    async def test_failed_run_ends_with_its_error(self, http: httpx2.AsyncClient, unknown: str) -> None:
        await command(http, unknown, "run.start", assistant_id="failing", input={})
        found = await frames(http, unknown, ["lifecycle"], lifecycle("failed"))
        assert found[-1]["params"]["data"]["error"] == "It is broken."


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "params", "error"),
        [
            ("no.such.command", {}, "unknown_command"),
            ("run.start", {}, "invalid_argument"),
            ("input.respond", {}, "invalid_argument"),
            ("input.respond", {"interrupt_id": "unknown", "response": 1}, "no_such_interrupt"),
        ],
    )
    async def test_invalid_command_is_answered_with_an_error(
        self, http: httpx2.AsyncClient, thread_id: str, method: str, params: dict[str, Any], error: str
    ) -> None:
        frame = await command(http, thread_id, method, **params)
        assert (frame["type"], frame["error"]) == ("error", error)
        assert frame["message"]

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"id": "seven", "method": "run.start"}', b'{"id": 7}'])
    async def test_malformed_command_is_rejected(self, http: httpx2.AsyncClient, thread_id: str, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        answer = await http.post(f"/threads/{thread_id}/commands", content=body, headers=headers)
        assert answer.status_code == 400

    @pytest.mark.parametrize("body", [{}, {"channels": []}, {"channels": ["thoughts"]}, {"channels": "values"}])
    async def test_malformed_subscription_is_rejected(
        self, http: httpx2.AsyncClient, thread_id: str, body: dict[str, Any]
    ) -> None:
        answer = await http.post(f"/threads/{thread_id}/stream/events", json=body)
        assert answer.status_code == 400

    async def test_opening_a_stream_creates_no_thread(self, client: LangGraphClient, unknown: str) -> None:
        async with opened(client, thread_id=unknown, assistant_id="counter"):
            with refused(404):
                await client.threads.get(unknown)
