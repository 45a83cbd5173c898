"""Runs on real processes: what survives a restart and a worker that is killed, and what nobody else may see."""

import asyncio
import os
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.processes import run as run_command
from tests.support.scripted_model import ScriptedModel, fails, sends_json
from tests.support.stored_runs import connect
from tests.support.transactions import waiting
from tests.support.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    """The service, with the graphs of this folder and a short lease."""
    with agent_service(database_url, redis_url, model, GRAPHS, lease_seconds="2") as running:
        yield running


def client_of(service: AgentService, headers: dict[str, str]) -> AbstractAsyncContextManager[LangGraphClient]:
    return get_client(url=service.url, api_key=None, headers=headers)


@pytest.fixture
async def client(service: AgentService) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client, signed in."""
    async with client_of(service, service.sign_up()) as client:
        yield client


async def test_conversation_survives_a_restart_of_all_processes(service: AgentService) -> None:
    headers = service.sign_up()
    async with client_of(service, headers) as client:
        thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread_id, "talk", input=said("one"))

    service.stop()
    service.start()

    async with client_of(service, headers) as client:
        result: Any = await client.runs.wait(thread_id, "talk", input=said("two"))
        assert [message["content"] for message in result["messages"]] == ["one", "1: one", "two", "3: two"]


async def test_run_reports_why_the_model_endpoint_refused(client: LangGraphClient, model: ScriptedModel) -> None:
    refusals = {
        "InputTooLongForModel": sends_json({"object": "error", "message": "maximum context length is 9", "code": 400}),
        "InputFilteredByModel": fails(400, error={"code": "content_filter", "message": "sk-secret"}),
        "InputKindNotSupported": fails(500, error={"message": "image input is not supported"}),
        "ModelMisconfigured": fails(402),
        "ModelKeyRefused": fails(401),
        "ModelUnavailable": fails(429),
    }
    for name, behaviour in refusals.items():
        model.does(behaviour)
        thread_id = (await client.threads.create())["thread_id"]
        waited: Any = await client.runs.wait(thread_id, "agent", input=said("Hello?"), raise_error=False)
        events = [part async for part in client.runs.stream(thread_id, "agent", input=said("Hello?"))]

        assert waited["__error__"]["error"] == name
        assert "sk-secret" not in str(waited)
        assert (events[-1].event, events[-1].data["error"]) == ("error", name)


async def test_fork_leaves_the_original_unchanged(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "talk", input=said("one"))
    first = await client.threads.get_state(thread_id)
    await client.runs.wait(thread_id, "talk", input=said("two"))
    original = await client.threads.get_state(thread_id)

    forked: Any = await client.runs.wait(thread_id, "talk", input=said("other"), checkpoint=first["checkpoint"])

    assert [message["content"] for message in forked["messages"]] == ["one", "1: one", "other", "3: other"]
    again = await client.threads.get_state(thread_id, checkpoint_id=original["checkpoint"]["checkpoint_id"])
    assert again["values"] == original["values"]


async def test_checkpoint_of_another_thread_is_rejected(client: LangGraphClient) -> None:
    mine, other = [(await client.threads.create())["thread_id"] for _ in range(2)]
    for thread_id in (mine, other):
        await client.runs.wait(thread_id, "talk", input=said("one"))
    checkpoint = (await client.threads.get_state(other))["checkpoint"]

    for call in (
        client.threads.get_state(mine, checkpoint=checkpoint),
        client.threads.get_history(mine, checkpoint=checkpoint),
        client.threads.get_history(mine, before=checkpoint),
        client.threads.update_state(mine, said("two"), checkpoint=checkpoint),
        client.runs.create(mine, "talk", input=said("two"), checkpoint=checkpoint),
    ):
        with pytest.raises(UnprocessableEntityError, match="of another thread"):
            await call
    values: Any = (await client.threads.get_state(mine))["values"]
    assert [message["content"] for message in values["messages"]] == ["one", "1: one"]


async def test_malformed_checkpoint_is_rejected(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    checkpoints: list[Any] = [
        {"checkpoint_ns": "a\0b"},
        {"checkpoint_map": {"a\0b": "01a20df1-5162-75dc-a16b-e37a5e5fc8af"}},
        {"checkpoint_map": {"": 7}},
        {"thread_id": "x"},
    ]

    for checkpoint in checkpoints:
        for call in (
            client.threads.get_state(thread_id, checkpoint=checkpoint),
            client.threads.get_history(thread_id, checkpoint=checkpoint),
            client.runs.create(thread_id, "talk", input=said("one"), checkpoint=checkpoint),
        ):
            with pytest.raises(UnprocessableEntityError, match=r"checkpoint\."):
                await call


async def test_configuration_of_another_thread_or_user_is_rejected(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for key in ("thread_id", "langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions"):
        for told in ({"context": {key: "x"}}, {"config": {"configurable": {key: "x"}}}):
            for place in (None, thread_id):
                with pytest.raises(UnprocessableEntityError, match=f"{key} is set by the service"):
                    await client.runs.create(place, "talk", input=said("one"), **told)
        with pytest.raises(UnprocessableEntityError, match=f"{key} is set by the service"):
            await client.assistants.create("talk", context={key: "x"})


async def test_configuration_that_a_server_made_is_taken_without_its_identity(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    of_a_run = {
        "assistant_id": str(uuid.uuid4()),
        "run_id": str(uuid.uuid4()),
        "graph_id": "agent",
        "thread_id": thread_id,
        "langgraph_auth_user_id": "another",
        "langgraph_auth_user": {"identity": "another"},
        "langgraph_request_id": "r",
        "checkpoint_ns": "a:b",
        "__pregel_resuming": True,
        "__pregel_checkpointer": "x",
        "word": "kept",
    }

    metadata = {"run_id": of_a_run["run_id"], "graph_id": "agent", "assistant_id": of_a_run["assistant_id"], "a": 1}
    config: Any = {"configurable": of_a_run, "metadata": metadata}
    run = await client.runs.create(thread_id, "talk", input=said("one"), config=config)

    assert run["metadata"] is not None
    assert (run["metadata"]["graph_id"], run["metadata"]["assistant_id"]) == ("talk", run["assistant_id"])
    assert run["metadata"]["a"] == 1
    assert "run_id" not in run["metadata"]
    configurable = (await client.runs.get(thread_id, run["run_id"]))["kwargs"]["config"]["configurable"]  # type: ignore[typeddict-item]  # not in the client's type
    assert configurable["word"] == "kept"
    assert configurable["run_id"] == run["run_id"]
    assert configurable["graph_id"] == "talk"
    assert configurable["langgraph_auth_user_id"] != "another"
    assert not {"checkpoint_ns", "__pregel_resuming", "__pregel_checkpointer"} & configurable.keys()
    await client.runs.join(thread_id, run["run_id"])


async def test_run_of_a_killed_worker_resumes_after_its_last_step(
    service: AgentService, client: LangGraphClient, tmp_path: Path
) -> None:
    log = tmp_path / "steps.log"
    thread_id = (await client.threads.create())["thread_id"]
    work: dict[str, Any] = {"steps": 6, "seconds": 0.4, "log": str(log)}
    run = await client.runs.create(thread_id, "steps", input=work, stream_mode=["custom"], durability="sync")
    waiting = asyncio.create_task(client.runs.join(thread_id, run["run_id"]))
    streaming = asyncio.create_task(_events(client, thread_id, run["run_id"]))
    await until(lambda: log.exists() and log.read_text().count("\n") >= 3)

    service.workers[0].send_signal(signal.SIGKILL)
    service.start_worker()

    result: Any = await waiting
    assert result["done"] == [0, 1, 2, 3, 4, 5]
    steps = [line.split() for line in log.read_text().splitlines()]
    assert len({worker for _, worker in steps}) == 2
    times = Counter(int(number) for number, _ in steps)
    assert set(times) == {0, 1, 2, 3, 4, 5}
    assert times.total() <= 7  # only the step that was cut short was taken again
    events = await streaming
    assert [event for event in events if event[0] == "metadata"] == [("metadata", 1), ("metadata", 2)]
    assert events[-1] == ("custom", 5)
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def _events(client: LangGraphClient, thread_id: str, run_id: str) -> list[tuple[str, Any]]:
    parts: list[Any] = [part async for part in client.runs.join_stream(thread_id, run_id)]
    assert len({part.id for part in parts}) == len(parts)
    told = {"custom": "step", "metadata": "attempt"}
    return [(part.event, part.data[told[part.event]] if part.event in told else part.data) for part in parts]


async def test_stream_of_a_new_run_starts_before_a_worker_has_claimed_it(
    service: AgentService, client: LangGraphClient
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    service.workers[0].send_signal(signal.SIGSTOP)

    stream = client.runs.stream(thread_id, "talk", input=said("one"))
    first = await anext(stream)
    [run] = await client.runs.list(thread_id)
    service.workers[0].send_signal(signal.SIGCONT)
    parts = [first, *[part async for part in stream]]
    again = [part async for part in client.runs.join_stream(thread_id, run["run_id"])]

    assert (first.event, first.data) == ("metadata", {"run_id": run["run_id"], "attempt": 1})
    assert run["status"] == "pending"
    assert parts == again  # the worker's own first event is the same one


async def test_stopping_worker_requeues_its_run(service: AgentService, client: LangGraphClient, tmp_path: Path) -> None:
    log = tmp_path / "steps.log"
    thread_id = (await client.threads.create())["thread_id"]
    work: dict[str, Any] = {"steps": 12, "seconds": 0.4, "log": str(log)}
    run = await client.runs.create(thread_id, "steps", input=work)
    await until(lambda: log.exists() and log.read_text().count("\n") >= 2)

    service.workers[0].terminate()
    service.start_worker()

    result: Any = await client.runs.join(thread_id, run["run_id"])
    assert result["done"] == list(range(12))
    lines = log.read_text().splitlines()
    assert len(lines) == 12  # no step was taken twice
    assert len({line.split()[1] for line in lines}) == 2  # processes
    assert await asyncio.to_thread(service.workers[0].wait, 30) == 0


async def test_resumed_frozen_worker_writes_nothing(
    service: AgentService, client: LangGraphClient, tmp_path: Path
) -> None:
    log = tmp_path / "steps.log"
    thread_id = (await client.threads.create())["thread_id"]
    work: dict[str, Any] = {"steps": 5, "seconds": 0.5, "log": str(log)}
    run = await client.runs.create(thread_id, "steps", input=work, durability="sync")
    await until(lambda: log.exists() and log.read_text().count("\n") >= 2)

    service.workers[0].send_signal(signal.SIGSTOP)
    service.start_worker()
    result: Any = await client.runs.join(thread_id, run["run_id"])
    service.workers[0].send_signal(signal.SIGCONT)

    assert result["done"] == [0, 1, 2, 3, 4]
    await asyncio.sleep(2)
    state: Any = await client.threads.get_state(thread_id)
    assert state["values"]["done"] == [0, 1, 2, 3, 4]
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"


async def test_workers_execute_each_run_once(service: AgentService, client: LangGraphClient, tmp_path: Path) -> None:
    service.start_worker()
    logs = [tmp_path / f"{number}.log" for number in range(30)]
    threads = [(await client.threads.create())["thread_id"] for _ in logs]

    await asyncio.gather(
        *(
            client.runs.wait(thread_id, "steps", input={"steps": 2, "seconds": 0.05, "log": str(log)})
            for thread_id, log in zip(threads, logs, strict=True)
        )
    )

    lines = [log.read_text().splitlines() for log in logs]
    assert [len(steps) for steps in lines] == [2] * 30
    assert len({line.split()[1] for steps in lines for line in steps}) == 2


async def test_interrupt_survives_a_restart(service: AgentService) -> None:
    headers = service.sign_up()
    async with client_of(service, headers) as client:
        thread_id = (await client.threads.create())["thread_id"]
        asked: Any = await client.runs.wait(thread_id, "ask", input=said("Tea?"))
        assert [one["value"] for one in asked["__interrupt__"]] == [{"question": "Tea?"}]
    service.stop()
    service.start()

    async with client_of(service, headers) as client:
        assert (await client.threads.get(thread_id))["status"] == "interrupted"
        answered: Any = await client.runs.wait(thread_id, "ask", command={"resume": "yes"})
        assert answered["messages"][-1]["content"] == "You said yes."
        assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_question_is_received_after_its_state_is_stored(client: LangGraphClient, database_url: str) -> None:
    thread_id = (await client.threads.create())["thread_id"]

    async def receive() -> Any:  # noqa: ANN401  a state
        async for event in client.runs.stream(thread_id, "ask", input=said("Tea?"), stream_mode="updates"):
            if "__interrupt__" in event.data:
                return await client.threads.get_state(thread_id)
        return None

    async with await connect(database_url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE checkpoint_writes IN SHARE MODE")
        receiving = await waiting(connection, receive())
        await asyncio.wait([receiving], timeout=0.5)  # in which a question that is published too early is received

    state = await receiving
    assert state["next"] == ["ask"]
    assert [one["value"] for one in state["tasks"][0]["interrupts"]] == [{"question": "Tea?"}]


async def test_other_users_threads_and_runs_are_404(service: AgentService, client: LangGraphClient) -> None:
    thread_id = (await client.threads.create(metadata={"whose": "ada"}))["thread_id"]
    run = await client.runs.create(thread_id, "talk", input=said("secret"))
    await client.runs.join(thread_id, run["run_id"])

    async with client_of(service, service.sign_up()) as other:
        assert await other.threads.search() == []
        assert await other.threads.count() == 0
        for refused in (
            other.threads.get(thread_id),
            other.threads.get_state(thread_id),
            other.threads.get_history(thread_id),
            other.threads.update(thread_id, metadata={}),
            other.threads.update_state(thread_id, {}),
            other.threads.copy(thread_id),
            other.threads.delete(thread_id),
            other.runs.list(thread_id),
            other.runs.get(thread_id, run["run_id"]),
            other.runs.cancel(thread_id, run["run_id"]),
            other.runs.delete(thread_id, run["run_id"]),
            other.runs.create(thread_id, "talk", input=said("mine?")),
            other.runs.create(thread_id, "talk", input=said("mine?"), if_not_exists="create"),
        ):
            with pytest.raises(NotFoundError):
                await refused
        assert await other.threads.prune([thread_id]) == {"pruned_count": 0}
    thread: Any = await client.threads.get(thread_id)
    assert thread["metadata"]["whose"] == "ada"


async def test_operator_commands_list_and_stop_runs(
    service: AgentService, client: LangGraphClient, tmp_path: Path
) -> None:
    def operate(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command("project4_agent_api", *arguments, environment=os.environ | service.environment)

    log = tmp_path / "steps.log"
    thread_id = (await client.threads.create())["thread_id"]
    work: dict[str, Any] = {"steps": 1000, "seconds": 0.1, "log": str(log)}
    run = await client.runs.create(thread_id, "steps", input=work)
    later = await client.runs.create(thread_id, "talk", input=said("later"), after_seconds=1000)
    await until(log.exists)

    listed = await asyncio.to_thread(operate, "runs", "--status", "running")
    assert listed.stdout.count("\n") == 1
    assert listed.stdout.startswith(run["run_id"])
    for one in (run, later):
        stopped = await asyncio.to_thread(operate, "stop-run", one["run_id"])
        assert stopped.returncode == 0, stopped.stderr
        await client.runs.join(thread_id, one["run_id"])
        assert (await client.runs.get(thread_id, one["run_id"]))["status"] == "interrupted"
    again = await asyncio.to_thread(operate, "stop-run", run["run_id"])
    assert (again.returncode, again.stderr) == (2, "error: There is no unfinished run with this id.\n")


async def test_waiter_is_notified_when_the_thread_is_deleted(client: LangGraphClient, tmp_path: Path) -> None:
    log = tmp_path / "steps.log"
    thread_id = (await client.threads.create())["thread_id"]
    work: dict[str, Any] = {"steps": 1000, "seconds": 0.1, "log": str(log)}
    waiting = asyncio.create_task(client.runs.wait(thread_id, "steps", input=work))
    await until(log.exists)
    (run,) = await client.runs.list(thread_id)
    following = client.runs.join_stream(thread_id, run["run_id"])
    assert (await anext(following)).event == "metadata"

    await client.threads.delete(thread_id)

    assert await waiting == {}
    assert {part.event async for part in following} <= {"values"}
    steps = log.read_text()
    await asyncio.sleep(1)
    assert log.read_text().count("\n") <= steps.count("\n") + 1


async def test_rolled_back_stateless_run_leaves_nothing(client: LangGraphClient, tmp_path: Path) -> None:
    log = tmp_path / "steps.log"
    work: dict[str, Any] = {"steps": 2, "seconds": 60, "log": str(log)}
    run = await client.runs.create(None, "steps", input=work)
    await until(log.exists)
    following = client.runs.join_stream(run["thread_id"], run["run_id"])
    assert (await anext(following)).event == "metadata"

    await client.runs.cancel_many(status="running", action="rollback")

    assert {part.event async for part in following} <= {"values"}  # it ends when the run has
    assert await client.threads.count() == 0


async def test_rollback_works_with_one_connection(
    service: AgentService, client: LangGraphClient, tmp_path: Path
) -> None:
    first = service.workers.pop()
    service.start_worker(DB_POOL_SIZE="1")
    first.terminate()
    first.wait(120)
    log = tmp_path / "steps.log"
    thread_id = (await client.threads.create())["thread_id"]
    work: dict[str, Any] = {"steps": 1, "seconds": 0, "log": str(log)}
    await client.runs.wait(thread_id, "steps", input=work)
    before = await client.threads.get_history(thread_id)
    run = await client.runs.create(thread_id, "steps", input=work | {"steps": 3, "seconds": 60})
    await until(lambda: log.read_text().count("\n") == 2)

    await client.runs.cancel(thread_id, run["run_id"], wait=True, action="rollback")

    assert (await client.threads.get(thread_id))["status"] == "idle"
    assert await client.threads.get_history(thread_id) == before
    assert [one["status"] for one in await client.runs.list(thread_id)] == ["success"]
