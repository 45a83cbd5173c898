"""The streaming protocol on real processes, beyond what LangGraph's own client and server show of it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from sqlalchemy.engine import make_url
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from project4_agent_api.streams.protocol.schemas import EventStreamRequest
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel, calls

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
EVERYTHING = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]
SECONDS = 120  # until something is taken for hung
Frame = dict[str, Any]


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service, with the graphs of this folder and a short lease."""
    with (
        databases.migrated("project4_agent_api") as url,
        agent_service(url, _redis_server, _model_server, GRAPHS, lease_seconds="2") as running,
    ):
        yield running


@pytest.fixture
def thread_id() -> str:
    """The id of a thread that is not there yet."""
    return str(uuid.uuid4())


async def command(http: httpx2.AsyncClient, thread_id: str, method: str, **params: Any) -> Frame:
    answer = await http.post(f"/threads/{thread_id}/commands", json={"id": 1, "method": method, "params": params})
    assert answer.status_code == 200, answer.text
    frame: Frame = answer.json()
    return frame


async def start(http: httpx2.AsyncClient, thread_id: str, graph: str, input_: object, **params: Any) -> str:
    """Start a run; return its id."""
    frame = await command(http, thread_id, "run.start", assistant_id=graph, input=input_, **params)
    assert frame["type"] == "success", frame
    run_id: str = frame["result"]["run_id"]
    return run_id


@asynccontextmanager
async def stream(
    http: httpx2.AsyncClient, thread_id: str, *channels: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[AsyncIterator[Frame]]:
    """Open a thread's stream while the block runs."""
    body = {"channels": channels or EVERYTHING, **options}
    path = f"/threads/{thread_id}/stream/events"
    async with asyncio.timeout(SECONDS), http.stream("POST", path, json=body, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield _frames(answer)


async def _frames(answer: httpx2.Response) -> AsyncIterator[Frame]:
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


async def take(frames: AsyncIterator[Frame], until: Callable[[Frame], bool]) -> list[Frame]:
    """Read as far as the first frame of which something holds, that one included."""
    taken: list[Frame] = []
    async for frame in frames:
        taken.append(frame)
        if until(frame):
            return taken
    raise AssertionError(f"the stream ended: {taken}")


async def read(
    http: httpx2.AsyncClient, thread_id: str, *channels: str, until: Callable[[Frame], bool], **options: Any
) -> list[Frame]:
    async with stream(http, thread_id, *channels, **options) as frames:
        return await take(frames, until)


def life(event: str) -> Callable[[Frame], bool]:
    """Recognise an event in the life of a run itself."""
    return lambda frame: (
        frame["method"] == "lifecycle"
        and not frame["params"]["namespace"]
        and frame["params"]["data"]["event"] == event
    )


def of(frames: list[Frame], method: str) -> list[Any]:
    return [frame["params"]["data"] for frame in frames if frame["method"] == method]


def lives(frames: list[Frame]) -> list[str]:
    return [data["event"] for data in of(frames, "lifecycle")]


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def steps(tmp_path: Path, count: int, seconds: float) -> dict[str, Any]:
    return {"steps": count, "seconds": seconds, "log": str(tmp_path / "steps.log")}


@pytest.mark.slow
class TestStream:
    async def test_stream_has_events_of_all_channels(
        self, http: httpx2.AsyncClient, thread_id: str, tmp_path: Path
    ) -> None:
        await start(http, thread_id, "steps", steps(tmp_path, 2, 0))
        frames = await read(http, thread_id, until=life("completed"))
        assert of(frames, "custom") == [{"step": 0}, {"step": 1}]
        assert of(frames, "updates") == [{"step": {"done": [0]}}, {"step": {"done": [1]}}]
        assert [data["done"] for data in of(frames, "values")] == [[], [0], [0, 1]]
        begun = [data for data in of(frames, "tasks") if "result" not in data]
        ended = [data for data in of(frames, "tasks") if "result" in data]
        assert [data["name"] for data in begun] == ["step", "step"]
        assert [data["id"] for data in ended] == [data["id"] for data in begun]

    async def test_checkpoint_precedes_its_values(
        self, http: httpx2.AsyncClient, thread_id: str, tmp_path: Path
    ) -> None:
        await start(http, thread_id, "steps", steps(tmp_path, 2, 0))
        frames = await read(http, thread_id, "checkpoints", "values", "lifecycle", until=life("completed"))
        history = (await http.get(f"/threads/{thread_id}/history")).json()
        values_at = {state["checkpoint_id"]: state["values"].get("done") for state in history}
        seen = [frame for frame in frames if frame["method"] != "lifecycle"]
        pairs = list(pairwise(seen))
        told = {
            checkpoint["params"]["data"]["id"]: values["params"]["data"]["done"]
            for checkpoint, values in pairs
            if (checkpoint["method"], values["method"]) == ("checkpoints", "values")
        }
        assert [data["step"] for data in of(frames, "checkpoints")] == [-1, 0, 1, 2]
        assert len(told) == 3
        assert told == {checkpoint: values_at[checkpoint] for checkpoint in told}

    async def test_message_that_a_node_returns_is_in_the_values_only(
        self, http: httpx2.AsyncClient, thread_id: str
    ) -> None:
        await start(http, thread_id, "talk", says("hello"))
        frames = await read(http, thread_id, "messages", "values", "lifecycle", until=life("completed"))
        assert of(frames, "messages") == []
        assert of(frames, "values")[-1]["messages"][-1]["content"] == "1: hello"

    async def test_runs_of_a_thread_follow_each_other(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        async with stream(http, thread_id, "lifecycle", "values") as frames:
            first = await start(http, thread_id, "talk", says("one"))
            begin = await take(frames, life("completed"))
            second = await start(http, thread_id, "talk", says("two"))
            end = await take(frames, life("completed"))
        assert {frame["event_id"].partition(":")[0] for frame in begin} == {first}
        assert {frame["event_id"].partition(":")[0] for frame in end} == {second}
        numbers = [frame["seq"] for frame in begin + end]
        assert numbers == sorted(set(numbers))
        again = await read(http, thread_id, "lifecycle", "values", until=lambda frame: frame["seq"] == numbers[-1])
        assert again == begin + end

    @pytest.mark.parametrize("way", ["body", "header"])
    async def test_stream_resumes_after_the_last_event(
        self, http: httpx2.AsyncClient, thread_id: str, way: str
    ) -> None:
        await start(http, thread_id, "talk", says("one"))
        frames = await read(http, thread_id, until=life("completed"))
        left = frames[3]["seq"]
        options: dict[str, Any] = {"since": left} if way == "body" else {"headers": {"Last-Event-ID": str(left)}}
        assert await read(http, thread_id, until=life("completed"), **options) == frames[4:]

    async def test_stream_includes_a_live_run_of_another_kind(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        await http.post("/threads", json={"thread_id": thread_id})
        async with stream(http, thread_id, "lifecycle", "values") as frames:
            asked = {"assistant_id": "ask", "input": says("Well?"), "stream_mode": ["values", "updates"]}
            await http.post(f"/threads/{thread_id}/runs", json=asked)
            first = await take(frames, life("interrupted"))
            await http.post(f"/threads/{thread_id}/runs", json={"assistant_id": "ask", "command": {"resume": "yes"}})
            second = await take(frames, life("completed"))
        assert lives(first) == ["running", "interrupted"]
        assert of(second, "values")[-1]["messages"][-1]["content"] == "You said yes."
        await start(http, thread_id, "talk", says("three"))
        later = await read(http, thread_id, "lifecycle", until=life("completed"))
        assert lives(later) == ["running", "completed"]

    async def test_cancelled_run_ends_its_frames(
        self, http: httpx2.AsyncClient, thread_id: str, tmp_path: Path
    ) -> None:
        async with stream(http, thread_id, "lifecycle", "custom") as frames:
            run_id = await start(http, thread_id, "steps", steps(tmp_path, 2, 60))
            await take(frames, lambda frame: frame["method"] == "custom")
            answer = await http.post(f"/threads/{thread_id}/runs/{run_id}/cancel", params={"wait": True})
            assert answer.status_code == 200
            assert lives(await take(frames, life("interrupted"))) == ["interrupted"]

    async def test_cancelled_pending_run_has_frames(
        self, http: httpx2.AsyncClient, thread_id: str, tmp_path: Path
    ) -> None:
        async with stream(http, thread_id, "lifecycle", "custom") as frames:
            running = await start(http, thread_id, "steps", steps(tmp_path, 2, 60))
            await take(frames, lambda frame: frame["method"] == "custom")
            waiting = await start(http, thread_id, "steps", steps(tmp_path, 2, 60))
            assert (await http.post(f"/threads/{thread_id}/runs/{waiting}/cancel")).status_code == 202
            assert (await http.post(f"/threads/{thread_id}/runs/{running}/cancel")).status_code == 202
            ends = await take(frames, lambda frame: frame["event_id"] == f"{waiting}:end")
        assert [frame["event_id"] for frame in ends] == [f"{running}:end", f"{waiting}:end"]
        assert lives(ends) == ["interrupted", "interrupted"]

    async def test_run_of_a_killed_worker_continues(
        self, service: AgentService, http: httpx2.AsyncClient, thread_id: str, tmp_path: Path
    ) -> None:
        async with stream(http, thread_id, "lifecycle", "custom", "values") as frames:
            await start(http, thread_id, "steps", steps(tmp_path, 4, 0.5))
            before = await take(frames, lambda frame: frame["params"]["data"] == {"step": 1})
            service.workers.pop().kill()
            await asyncio.to_thread(service.start_worker)
            after = await take(frames, life("completed"))
        assert lives(before + after) == ["running", "running", "completed"]
        assert of(after, "values")[-1]["done"] == [0, 1, 2, 3]
        numbers = [frame["seq"] for frame in before + after]
        assert numbers == sorted(set(numbers))
        again = await read(http, thread_id, "lifecycle", "custom", "values", until=life("completed"))
        assert again == before + after

    async def test_interrupt_outlives_its_events(
        self, service: AgentService, http: httpx2.AsyncClient, thread_id: str
    ) -> None:
        run_id = await start(http, thread_id, "ask", says("Well?"))
        frames = await read(http, thread_id, "lifecycle", "input", until=life("interrupted"))
        redis = Redis.from_url(service.environment["REDIS_URL"])
        names = make_url(service.environment["DATABASE_URL"]).database
        assert await redis.delete(f"{names}:run:{run_id}") == 1
        await redis.aclose()
        again = await read(http, thread_id, "lifecycle", "input", until=life("interrupted"))
        assert of(again, "input.requested") == of(frames, "input.requested")
        (asked,) = of(again, "input.requested")
        answered = await command(
            http, thread_id, "input.respond", interrupt_id=asked["interrupt_id"], namespace=[], response="yes"
        )
        assert answered["type"] == "success"
        values = of(await read(http, thread_id, "lifecycle", "values", until=life("completed")), "values")
        assert values[-1]["messages"][-1]["content"] == "You said yes."

    async def test_oversized_frames_are_omitted(
        self, database_url: str, redis_url: str, model: ScriptedModel, thread_id: str
    ) -> None:
        with agent_service(database_url, redis_url, model, GRAPHS, run_events_kb="64") as service:
            async with httpx2.AsyncClient(
                base_url=service.url, headers=service.sign_up(), timeout=SECONDS, trust_env=False
            ) as http:
                async with stream(http, thread_id) as live:
                    await start(http, thread_id, "talk", says("a" * 65_536))
                    frames = await take(live, life("completed"))
                assert lives(frames) == ["running", "completed"]
                assert len(of(frames, "checkpoints")) == 3
                assert of(frames, "values") == of(frames, "updates") == []
                assert await read(http, thread_id, until=life("completed")) == frames

                left = frames[-2]["seq"]
                assert await read(http, thread_id, until=life("completed"), since=left) == frames[-1:]
                await start(http, thread_id, "talk", says("b"))
                later = await read(http, thread_id, until=life("completed"), since=frames[-1]["seq"])
                assert lives(later) == ["running", "completed"]


@pytest.mark.slow
class TestCommands:
    async def asked(self, http: httpx2.AsyncClient, thread_id: str) -> str:
        """Start a run that asks something; return the question's id."""
        await start(http, thread_id, "ask", says("Well?"))
        frames = await read(http, thread_id, "lifecycle", "input", until=life("interrupted"))
        interrupt_id: str = of(frames, "input.requested")[0]["interrupt_id"]
        return interrupt_id

    async def said(self, http: httpx2.AsyncClient, thread_id: str, run_id: str) -> list[str]:
        """Wait for the end of a run; return what its messages say."""
        frames = await read(
            http, thread_id, "values", "lifecycle", until=lambda frame: frame["event_id"] == f"{run_id}:end"
        )
        return [message["content"] for message in of(frames, "values")[-1]["messages"]]

    async def test_input_answers_an_interrupt(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        await self.asked(http, thread_id)
        await start(http, thread_id, "ask", "maybe")
        values = of(await read(http, thread_id, "lifecycle", "values", until=life("completed")), "values")
        assert values[-1]["messages"][-1]["content"] == "You said maybe."

    async def test_null_is_a_valid_answer(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        interrupt_id = await self.asked(http, thread_id)
        answered = await command(http, thread_id, "input.respond", interrupt_id=interrupt_id, response=None)
        assert answered == {"type": "success", "id": 1, "result": {}, "meta": {"applied_through_seq": 0}}
        values = of(await read(http, thread_id, "lifecycle", "values", until=life("completed")), "values")
        assert values[-1]["messages"][-1]["content"] == "You said None."

    async def test_input_takes_all_options(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        answered = await command(
            http,
            thread_id,
            "input.respond",
            responses=[{"interrupt_id": await self.asked(http, thread_id), "namespace": [], "response": "yes"}],
            update={"messages": [{"role": "user", "content": "by the way"}]},
            config={"tags": ["t"], "configurable": {"thread_id": thread_id}},
            metadata={"purpose": "answer"},
            strict_resume=True,
        )
        assert answered["type"] == "success"
        values = of(await read(http, thread_id, "lifecycle", "values", until=life("completed")), "values")
        contents = [message["content"] for message in values[-1]["messages"]]
        assert sorted(contents) == ["Well?", "You said yes.", "by the way"]
        newest = (await http.get(f"/threads/{thread_id}/runs")).json()[0]
        assert newest["metadata"]["purpose"] == "answer"

    async def test_invalid_answer_can_be_repeated(
        self, http: httpx2.AsyncClient, thread_id: str, model: ScriptedModel
    ) -> None:
        model.then(calls(("fetch_web_page", '{"url": "http://127.0.0.1/"}')))
        await start(http, thread_id, "agent", says("Fetch it."))
        frames = await read(http, thread_id, "lifecycle", "input", until=life("interrupted"))
        interrupt_id = of(frames, "input.requested")[0]["interrupt_id"]

        invalid = await command(http, thread_id, "input.respond", interrupt_id=interrupt_id, response="yes")
        await read(http, thread_id, "lifecycle", until=life("failed"))
        decisions = {"decisions": [{"type": "approve"}]}
        repeated = await command(http, thread_id, "input.respond", interrupt_id=interrupt_id, response=decisions)
        await read(http, thread_id, "lifecycle", until=life("completed"))

        assert [answered["type"] for answered in (invalid, repeated)] == ["success", "success"]

    async def test_concurrent_answers_have_one_winner(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        answer = {"interrupt_id": await self.asked(http, thread_id), "namespace": [], "response": "yes"}
        answers = await asyncio.gather(*(command(http, thread_id, "input.respond", **answer) for _ in range(5)))
        assert sorted(one["type"] for one in answers) == ["error"] * 4 + ["success"]
        assert {one["error"] for one in answers if one["type"] == "error"} == {"no_such_interrupt"}

    async def test_run_starts_from_an_earlier_checkpoint(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        await start(http, thread_id, "talk", says("one"))
        await read(http, thread_id, "lifecycle", until=life("completed"))
        first = (await http.get(f"/threads/{thread_id}/state")).json()["checkpoint_id"]
        for text, config in [("two", {}), ("other", {"configurable": {"checkpoint_id": first}})]:
            run_id = await start(http, thread_id, "talk", says(text), config=config)
            contents = await self.said(http, thread_id, run_id)
            assert contents == ["one", "1: one", text, f"3: {text}"]

    async def test_run_takes_all_fields_of_the_clients(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        run_id = await start(
            http,
            thread_id,
            "talk",
            says("one"),
            config={"tags": ["t"], "recursion_limit": 5, "configurable": {"colour": "red", "thread_id": thread_id}},
            metadata={"purpose": "talk"},
            multitask_strategy="interrupt",
            multitaskStrategy="interrupt",
            langsmith_tracer={"project_name": "p"},
            colour="red",
        )
        run = (await http.get(f"/threads/{thread_id}/runs/{run_id}")).json()
        assert run["multitask_strategy"] == "interrupt"
        assert run["metadata"]["purpose"] == "talk"
        assert run["kwargs"]["config"]["recursion_limit"] == 5
        assert run["kwargs"]["config"]["configurable"]["colour"] == "red"

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ({"assistant_id": "talk", "multitask_strategy": "sometimes"}, "multitask_strategy: "),
            ({"assistant_id": "talk", "config": {"configurable": {"thread_id": "another"}}}, "is set by the service"),
            ({"assistant_id": "talk", "config": {"configurable": {"checkpoint_id": "first"}}}, "checkpoint_id: "),
            ({"assistant_id": "talk", "config": {"configurable": {"checkpoint_id": 7}}}, "checkpoint_id: "),
            ({"assistant_id": "talk", "input": "\0"}, "NUL"),
        ],
    )
    async def test_invalid_run_is_rejected(
        self, http: httpx2.AsyncClient, thread_id: str, params: dict[str, Any], said: str
    ) -> None:
        frame = await command(http, thread_id, "run.start", **params)
        assert (frame["type"], frame["id"], frame["error"]) == ("error", 1, "invalid_argument")
        assert said in frame["message"]
        assert (await http.get(f"/threads/{thread_id}")).status_code == 404

    async def test_busy_thread_is_rejected_on_request(
        self, http: httpx2.AsyncClient, thread_id: str, tmp_path: Path
    ) -> None:
        run_id = await start(http, thread_id, "steps", steps(tmp_path, 1, 60))
        params = {"assistant_id": "steps", "input": {}, "multitask_strategy": "reject"}
        frame = await command(http, thread_id, "run.start", **params)
        assert (frame["type"], frame["error"]) == ("error", "unknown_error")
        assert "unfinished run" in frame["message"]
        await http.post(f"/threads/{thread_id}/runs/{run_id}/cancel")

    @pytest.mark.parametrize(
        ("method", "error"),
        [
            ("subscription.subscribe", "not_supported"),
            ("subscription.unsubscribe", "not_supported"),
            ("subscription.reconnect", "not_supported"),
            ("agent.getTree", "not_supported"),
            ("state.get", "unknown_command"),
            ("state.fork", "unknown_command"),
            ("input.inject", "unknown_command"),
        ],
    )
    async def test_unsupported_commands_are_rejected(
        self, http: httpx2.AsyncClient, thread_id: str, method: str, error: str
    ) -> None:
        frame = await command(http, thread_id, method)
        assert (frame["type"], frame["error"]) == ("error", error)

    @pytest.mark.parametrize("path", ["commands", "stream/events"])
    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"7", b'{"id": true, "method": "run.start"}'])
    async def test_malformed_commands_are_rejected(
        self, http: httpx2.AsyncClient, thread_id: str, path: str, body: bytes
    ) -> None:
        given = {"Content-Type": "application/json"}
        answer = await http.post(f"/threads/{thread_id}/{path}", content=body, headers=given)
        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "options",
        [
            {"channels": ["values"], "since": -1},
            {"channels": ["values"], "since": True},
            {"channels": ["values"], "depth": "all"},
            {"channels": ["values"], "namespaces": ["middle"]},
            {"channels": ["custom:"]},
        ],
    )
    async def test_invalid_stream_is_rejected(
        self, http: httpx2.AsyncClient, thread_id: str, options: dict[str, Any]
    ) -> None:
        answer = await http.post(f"/threads/{thread_id}/stream/events", json=options)
        assert answer.status_code == 400

    async def test_last_event_of_another_stream_is_ignored(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        path, given = f"/threads/{thread_id}/stream/events", {"Last-Event-ID": "1-2"}
        await start(http, thread_id, "talk", says("one"))
        async with http.stream("POST", path, json={"channels": ["lifecycle"]}, headers=given) as answer:
            assert answer.status_code == 200
            assert "running" in await anext(line async for line in answer.aiter_lines() if line.startswith("data"))

    @pytest.mark.parametrize(
        ("path", "body"),
        [("commands", b'{"id": 1, "method": "run.start"}'), ("stream/events", b'{"channels": ["values"]}')],
    )
    async def test_plain_text_of_another_site_is_rejected(
        self, http: httpx2.AsyncClient, thread_id: str, path: str, body: bytes
    ) -> None:
        for given in ({"Content-Type": "text/plain", "Origin": "https://evil.example"}, {"Content-Type": "text/html"}):
            answer = await http.post(f"/threads/{thread_id}/{path}", content=body, headers=given)
            assert answer.status_code == 400
            assert answer.json()["detail"] == "Send it as application/json."

    async def test_command_is_read_from_plain_text(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        answer = await http.post(f"/threads/{thread_id}/commands", content=b'{"id": 3, "method": "run.start"}')
        assert (answer.status_code, answer.json()["id"], answer.json()["error"]) == (200, 3, "invalid_argument")

    @pytest.mark.parametrize("path", ["commands", "stream/events"])
    async def test_unauthenticated_client_is_rejected(self, service: AgentService, thread_id: str, path: str) -> None:
        async with httpx2.AsyncClient(base_url=service.url, trust_env=False) as nobody:
            answer = await nobody.post(f"/threads/{thread_id}/{path}", json={})
        assert answer.status_code == 401


class Socket:
    """A WebSocket to a thread."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._id = 0
        self._received: list[Frame] = []  # before the response to a command

    async def frame(self) -> Frame:
        """Receive a frame."""
        return self._received.pop(0) if self._received else await self._receive()

    async def _receive(self) -> Frame:
        async with asyncio.timeout(SECONDS):
            frame: Frame = json.loads(await self.connection.recv())
        return frame

    async def read(self, until: Callable[[Frame], bool]) -> list[Frame]:
        """Receive frames as far as the first of which something holds."""
        frames = [await self.frame()]
        while not until(frames[-1]):
            frames.append(await self.frame())
        return frames

    async def command(self, method: str, **params: Any) -> Frame:
        """Send a command; return its response."""
        self._id += 1
        await self.connection.send(json.dumps({"id": self._id, "method": method, "params": params}))
        while (frame := await self._receive()).get("id") != self._id:
            self._received.append(frame)
        return frame

    async def closed(self) -> int:
        """Return the code with which the server closes the connection."""
        with pytest.raises(ConnectionClosed) as caught:
            await self.read(lambda _: False)
        assert caught.value.rcvd
        return caught.value.rcvd.code


def socket_url(service: AgentService, thread_id: str) -> str:
    return f"{service.url.replace('http', 'ws')}/threads/{thread_id}/stream/events"


@asynccontextmanager
async def socket_to(
    service: AgentService, thread_id: str, headers: dict[str, str], **options: Any
) -> AsyncIterator[Socket]:
    url = socket_url(service, thread_id)
    async with connect(url, additional_headers=headers, proxy=None, **options) as connection:
        yield Socket(connection)


@pytest.mark.slow
class TestSocket:
    async def test_commands_and_events_share_a_connection(
        self, service: AgentService, http: httpx2.AsyncClient, headers: dict[str, str], thread_id: str
    ) -> None:
        async with socket_to(service, thread_id, headers) as socket:
            subscribed = await socket.command("subscription.subscribe", channels=["lifecycle", "values"])
            assert subscribed["type"] == "success"
            started = await socket.command("run.start", assistant_id="talk", input=says("one"))
            assert (started["type"], list(started["result"])) == ("success", ["run_id"])
            sent = await socket.read(life("completed"))
        received = await read(http, thread_id, "lifecycle", "values", until=life("completed"))
        assert sent == received

    async def test_question_is_answered_on_the_connection(
        self, service: AgentService, headers: dict[str, str], thread_id: str
    ) -> None:
        async with socket_to(service, thread_id, headers) as socket:
            await socket.command("subscription.subscribe", channels=["lifecycle", "input"])
            await socket.command("run.start", assistant_id="ask", input=says("May I?"))
            (asked,) = [
                frame for frame in await socket.read(life("interrupted")) if frame["method"] == "input.requested"
            ]
            answer = {"interrupt_id": asked["params"]["data"]["interrupt_id"], "response": "yes"}
            assert (await socket.command("input.respond", **answer))["type"] == "success"
            await socket.read(life("completed"))

    async def test_events_resume_after_the_last_one(
        self, service: AgentService, http: httpx2.AsyncClient, headers: dict[str, str], thread_id: str
    ) -> None:
        await start(http, thread_id, "talk", says("one"))
        received = await read(http, thread_id, "lifecycle", "values", until=life("completed"))
        async with socket_to(service, thread_id, headers) as socket:
            since = received[0]["seq"]
            await socket.command("subscription.reconnect", channels=["lifecycle", "values"], since=since)
            assert await socket.read(life("completed")) == received[1:]

    async def test_subscription_is_ended(
        self, service: AgentService, http: httpx2.AsyncClient, headers: dict[str, str], thread_id: str
    ) -> None:
        async with socket_to(service, thread_id, headers) as socket:
            subscribed = await socket.command("subscription.subscribe", channels=["values"])
            name = subscribed["result"]["subscription_id"]
            assert (await socket.command("subscription.unsubscribe", subscription_id=name))["type"] == "success"
            again = await socket.command("subscription.unsubscribe", subscription_id=name)
            assert again["error"] == "no_such_subscription"
            await start(http, thread_id, "talk", says("one"))
            await read(http, thread_id, "lifecycle", until=life("completed"))
            assert (await socket.command("agent.getTree"))["error"] == "not_supported"  # no event came before it

    async def test_invalid_commands_are_refused(
        self, service: AgentService, headers: dict[str, str], thread_id: str
    ) -> None:
        async with socket_to(service, thread_id, headers) as socket:
            for text in ("{", "[]", '{"method": "run.start"}', '{"id": true, "method": "run.start"}'):
                await socket.connection.send(text)
                frame = await socket.frame()
                assert (frame["type"], frame["id"], frame["error"]) == ("error", None, "invalid_argument")
            assert (await socket.command("state.get"))["error"] == "unknown_command"
            assert (await socket.command("run.start"))["error"] == "invalid_argument"
            channels: list[Any] = [{}, {"channels": []}, {"channels": ["thoughts"]}, {"channels": [], "since": "1"}]
            for params in channels:
                assert (await socket.command("subscription.subscribe", **params))["error"] == "invalid_argument"

    async def test_connection_has_a_bounded_number_of_subscriptions(
        self, service: AgentService, headers: dict[str, str], thread_id: str
    ) -> None:
        async with socket_to(service, thread_id, headers) as socket:
            for _ in range(50):
                assert (await socket.command("subscription.subscribe", channels=["input"]))["type"] == "success"
            assert (await socket.command("subscription.subscribe", channels=["input"]))["type"] == "error"

    async def test_large_message_closes_the_connection(
        self, service: AgentService, headers: dict[str, str], thread_id: str
    ) -> None:
        async with socket_to(service, thread_id, headers) as socket:
            await socket.connection.send(" " * (2 << 20))
            assert await socket.closed() == 1009

    async def test_connection_without_credentials_is_closed(self, service: AgentService, thread_id: str) -> None:
        for headers in ({}, {"Authorization": "Bearer none"}, {"X-Api-Key": "none"}):
            async with socket_to(service, thread_id, headers) as socket:
                assert await socket.closed() == 4401

    async def test_connection_of_another_site_is_refused(
        self, service: AgentService, headers: dict[str, str], thread_id: str
    ) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with socket_to(service, thread_id, headers, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403

    async def test_page_sends_its_token_as_a_subprotocol(
        self, service: AgentService, headers: dict[str, str], thread_id: str
    ) -> None:
        offered = ["bearer", headers["Authorization"].removeprefix("Bearer ")]
        origin = "http://localhost:5173"
        async with socket_to(service, thread_id, {}, subprotocols=offered, origin=origin) as socket:
            assert socket.connection.subprotocol == "bearer"
            assert (await socket.command("subscription.subscribe", channels=["values"]))["type"] == "success"

    async def test_connection_of_another_user_sees_nothing(
        self, service: AgentService, http: httpx2.AsyncClient, thread_id: str
    ) -> None:
        await start(http, thread_id, "talk", says("one"))
        async with socket_to(service, thread_id, service.sign_up()) as socket:
            await socket.command("subscription.subscribe", channels=EVERYTHING)
            refused = await socket.command("run.start", assistant_id="talk", input=says("two"))
            assert (refused["type"], refused["error"]) == ("error", "unknown_error")

    async def test_connection_ends_with_its_credential(self, service: AgentService, thread_id: str) -> None:
        own = service.sign_up()
        async with (
            httpx2.AsyncClient(base_url=service.url, headers=own, timeout=SECONDS, trust_env=False) as client,
            socket_to(service, thread_id, own) as socket,
        ):
            await socket.command("subscription.subscribe", channels=["values"])
            (await client.post("/auth/logout-all")).raise_for_status()
            assert await socket.closed() == 4401


@pytest.mark.slow
class TestIsolation:
    async def test_other_owners_thread_is_404(
        self, service: AgentService, http: httpx2.AsyncClient, thread_id: str
    ) -> None:
        interrupt_id = await TestCommands().asked(http, thread_id)
        another = service.sign_up()
        url = service.url
        async with httpx2.AsyncClient(base_url=url, headers=another, timeout=SECONDS, trust_env=False) as bob:
            params = {"interrupt_id": interrupt_id, "namespace": [], "response": "yes"}
            anothers = await command(bob, thread_id, "input.respond", **params)
            unknown = await command(bob, str(uuid.uuid4()), "input.respond", **params)
            assert anothers == unknown
            assert anothers["error"] == "no_such_run"
            refused = await command(bob, thread_id, "run.start", assistant_id="talk", input=says("mine"))
            assert refused["type"] == "error"
            # Its events wake every subscriber, and show nothing to another user.
            async with stream(bob, thread_id) as frames:
                next_frame = asyncio.ensure_future(anext(aiter(frames)))
                await start(http, thread_id, "ask", "yes")
                await read(http, thread_id, "lifecycle", until=life("completed"))
                assert not next_frame.done()
                next_frame.cancel()
        runs = (await http.get(f"/threads/{thread_id}/runs")).json()
        assert len(runs) == 2


class TestSubscription:
    @pytest.mark.parametrize(
        ("wanted", "channel", "namespace", "takes"),
        [
            ({"channels": ["values"]}, "values", ["a:1", "b:2"], True),
            ({"channels": ["values"]}, "updates", [], False),
            ({"channels": ["custom"]}, "custom:progress", [], True),
            ({"channels": ["custom:progress"]}, "custom:progress", [], True),
            ({"channels": ["custom:progress"]}, "custom:other", [], False),
            ({"channels": ["custom:progress"]}, "custom", [], False),
            ({"channels": ["values"], "namespaces": [[]], "depth": 0}, "values", [], True),
            ({"channels": ["values"], "namespaces": [[]], "depth": 0}, "values", ["a:1"], False),
            ({"channels": ["values"], "namespaces": [[]], "depth": 1}, "values", ["a:1"], True),
            ({"channels": ["values"], "namespaces": [["a"]]}, "values", ["a:1", "b:2"], True),
            ({"channels": ["values"], "namespaces": [["a:1"]]}, "values", ["a:1"], True),
            ({"channels": ["values"], "namespaces": [["a:2"]]}, "values", ["a:1"], False),
            ({"channels": ["values"], "namespaces": [["a"]]}, "values", [], False),
            ({"channels": ["values"], "namespaces": [["b"], ["a"]]}, "values", ["a:1"], True),
        ],
    )
    def test_subscription_filters_by_channel_and_namespace(
        self, wanted: dict[str, Any], channel: str, namespace: list[str], takes: bool
    ) -> None:
        assert EventStreamRequest(**wanted).includes(channel, namespace) == takes
