"""Runs: started in the background or waited for, with a thread or without, listed, joined and deleted."""

import asyncio
from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Config, Durability, RunCreate, RunCreateMetadata

from tests.conformance.receiver import Receiver
from tests.conformance.support import asleep, built_in, eventually, plain, refused, said, says

COUNTED = {"count": 3, "trail": ["one", "two", "three"]}


class TestCreate:
    async def test_run_is_created_in_the_background(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, metadata={"purpose": "count"})
        assert run["thread_id"] == thread_id
        assert run["assistant_id"] == (await built_in(client, "counter"))["assistant_id"]
        assert run["status"] == "pending"
        assert run["multitask_strategy"] == "enqueue"
        assert plain(run["metadata"])["purpose"] == "count"
        assert await client.runs.join(thread_id, run["run_id"]) == COUNTED
        ended = await client.runs.get(thread_id, run["run_id"])
        assert (ended["run_id"], ended["status"]) == (run["run_id"], "success")
        assert ended["created_at"] == run["created_at"]
        assert ended["updated_at"] > run["updated_at"]

    async def test_run_keeps_its_arguments(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={"count": 4}, stream_mode=["values", "updates"])
        kwargs = plain(run)["kwargs"]
        assert kwargs["input"] == {"count": 4}
        assert kwargs["stream_mode"] == ["values", "updates"]
        await client.runs.join(thread_id, run["run_id"])

    async def test_run_takes_the_assistants_settings(self, client: LangGraphClient, thread_id: str) -> None:
        assistant = await client.assistants.create("configured", context={"colour": "red"}, metadata={"from": "it"})
        run = await client.runs.create(thread_id, assistant["assistant_id"], input={})
        assert run["assistant_id"] == assistant["assistant_id"]
        assert plain(run["metadata"])["from"] == "it"
        assert (await client.runs.join(thread_id, run["run_id"]))["context"] == "red"

    async def test_stateless_run_is_created(self, client: LangGraphClient) -> None:
        run = await client.runs.create(None, "slow", input={"seconds": 0.5})
        thread_id = run["thread_id"]
        assert (await client.runs.join(thread_id, run["run_id"]))["done"] == ["lie_down", "sleep"]

        async def is_gone() -> bool:
            return not await client.threads.search(ids=[thread_id])

        await eventually(is_gone, bool)
        with refused(404):
            await client.runs.get(thread_id, run["run_id"])

    async def test_stateless_run_can_keep_its_thread(self, client: LangGraphClient) -> None:
        run = await client.runs.create(None, "counter", input={}, on_completion="keep")
        await client.runs.join(run["thread_id"], run["run_id"])
        assert (await client.threads.get_state(run["thread_id"]))["values"] == COUNTED
        assert (await client.runs.get(run["thread_id"], run["run_id"]))["status"] == "success"

    async def test_batch_is_created(self, client: LangGraphClient) -> None:
        payloads: list[Any] = [
            {"assistant_id": "counter", "input": {"count": n}, "on_completion": "keep", "metadata": {"n": n}}
            for n in range(3)
        ]
        runs = await client.runs.create_batch(payloads)
        assert [plain(run["metadata"])["n"] for run in runs] == [0, 1, 2]
        ended = await asyncio.gather(*[client.runs.join(run["thread_id"], run["run_id"]) for run in runs])
        assert [state["count"] for state in ended] == [3, 4, 5]

    async def test_invalid_batch_is_rejected(self, client: LangGraphClient) -> None:
        wrong: RunCreate = {"assistant_id": "no-such-graph", "input": {}}  # type: ignore[typeddict-item]  # it may
        with refused(422):
            await client.runs.create_batch([wrong])
        with refused(422):
            await client.runs.create_batch([])

    @pytest.mark.parametrize("thread", ["new", "none"])
    async def test_create_reports_the_run_id(self, client: LangGraphClient, thread_id: str, thread: str) -> None:
        made: list[RunCreateMetadata] = []
        where = thread_id if thread == "new" else None
        kept: dict[str, Any] = {} if where else {"on_completion": "keep"}  # joined below, perhaps after it has ended
        run = await client.runs.create(where, "counter", input={}, on_run_created=made.append, **kept)
        assert made == [{"run_id": run["run_id"], "thread_id": where}]
        await client.runs.join(run["thread_id"], run["run_id"])

    async def test_delayed_run_starts_later(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, after_seconds=5)
        assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "pending"
        assert await client.runs.join(thread_id, run["run_id"]) == COUNTED

    async def test_delayed_run_does_not_block_others(self, client: LangGraphClient, thread_id: str) -> None:
        later = await client.runs.create(thread_id, "counter", input={}, after_seconds=600)
        await client.runs.wait(None, "counter", input={})
        assert (await client.runs.get(thread_id, later["run_id"]))["status"] == "pending"
        await client.runs.cancel(thread_id, later["run_id"])

    async def test_missing_thread_is_created_on_request(self, client: LangGraphClient, unknown: str) -> None:
        with refused(404):
            await client.runs.create(unknown, "counter", input={})
        with refused(404):
            await client.runs.create(unknown, "counter", input={}, if_not_exists="reject")
        run = await client.runs.create(
            unknown, "counter", input={}, if_not_exists="create", metadata={"made": "by run"}
        )
        assert run["thread_id"] == unknown
        await client.runs.join(unknown, run["run_id"])
        assert plain((await client.threads.get(unknown))["metadata"])["made"] == "by run"

    async def test_invalid_run_is_rejected(self, client: LangGraphClient, thread_id: str, unknown: str) -> None:
        with refused(422):
            await client.runs.create(thread_id, "no-such-graph", input={})
        with refused(404):
            await client.runs.create(thread_id, unknown, input={})
        wrong: list[dict[str, Any]] = [
            {"stream_mode": "thoughts"},
            {"multitask_strategy": "hope"},
            {"if_not_exists": "perhaps"},
            {"durability": "eternal"},
            {"metadata": "none"},
            {"webhook": "ftp://example.com/hook"},
            {"checkpoint_id": "no-uuid"},
        ]
        for options in wrong:
            with refused(422):
                await client.runs.create(thread_id, "counter", input={}, **options)
        with refused(422, reference=400):
            config: Config = {"configurable": {"size": "small"}}
            await client.runs.create(thread_id, "configured", input={}, config=config, context={"colour": "red"})
        assert await client.runs.list(thread_id) == []

    async def test_stateless_run_cannot_resume(self, client: LangGraphClient) -> None:
        with refused(422, reference=400):
            await client.runs.create(None, "approval", command={"resume": "yes"})


class TestWait:
    async def test_wait_returns_the_final_state(self, client: LangGraphClient, thread_id: str) -> None:
        ended = plain(await client.runs.wait(thread_id, "echo", input=says("Hello")))
        assert said(ended) == [("human", "Hello"), ("ai", "Echo: Hello")]
        ended = plain(await client.runs.wait(thread_id, "echo", input=says("Again")))
        assert said(ended)[2:] == [("human", "Again"), ("ai", "Echo: Again")]

    async def test_wait_for_a_stateless_run(self, client: LangGraphClient) -> None:
        made: list[RunCreateMetadata] = []
        assert await client.runs.wait(None, "counter", input={}, on_run_created=made.append) == COUNTED
        assert made[0]["run_id"]

    async def test_wait_returns_an_interrupt(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = plain(await client.runs.wait(thread_id, "approval", input={"topic": "go"}))
        (interrupt,) = stopped["__interrupt__"]
        assert interrupt["value"] == {"question": "May I go?"}
        assert interrupt["id"]
        assert stopped["answers"] == ["prepared"]
        assert [run["status"] for run in await client.runs.list(thread_id)] == ["success"]

    async def test_wait_returns_several_interrupts(self, client: LangGraphClient, thread_id: str) -> None:
        stopped = plain(await client.runs.wait(thread_id, "several", input={}))
        assert {interrupt["value"] for interrupt in stopped["__interrupt__"]} == {"left", "right"}

    async def test_wait_returns_the_interrupt_of_a_stateless_run(self, client: LangGraphClient) -> None:
        stopped = plain(await client.runs.wait(None, "approval", input={"topic": "go"}))
        assert [interrupt["value"] for interrupt in stopped["__interrupt__"]] == [{"question": "May I go?"}]

    @pytest.mark.parametrize("thread", ["new", "none"])
    async def test_wait_returns_or_raises_the_error(self, client: LangGraphClient, thread_id: str, thread: str) -> None:
        where = thread_id if thread == "new" else None
        answer = await client.runs.wait(where, "failing", input={}, raise_error=False)
        assert answer == {"__error__": {"error": "ValueError", "message": "It is broken."}}
        with pytest.raises(Exception, match="ValueError: It is broken"):
            await client.runs.wait(where, "failing", input={})

    async def test_failed_run_has_the_status_error(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
        (run,) = await client.runs.list(thread_id)
        assert run["status"] == "error"

    async def test_wait_has_a_location_header(self, http: httpx2.AsyncClient, thread_id: str) -> None:
        answer = await http.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": "counter", "input": {}})
        run = answer.headers["Content-Location"]
        assert run.startswith(f"/threads/{thread_id}/runs/")
        assert answer.headers["Location"] == f"{run}/join"
        assert (await http.get(answer.headers["Location"])).json() == answer.json()

    async def test_run_without_an_input_fails(self, client: LangGraphClient, thread_id: str) -> None:
        answer = plain(await client.runs.wait(thread_id, "counter", raise_error=False))
        assert answer["__error__"]["error"] == "EmptyInputError"

    async def test_run_stops_at_the_recursion_limit(self, client: LangGraphClient, thread_id: str) -> None:
        limit: Config = {"recursion_limit": 2}
        answer = plain(await client.runs.wait(thread_id, "counter", input={}, config=limit, raise_error=False))
        assert answer["__error__"]["error"] == "GraphRecursionError"

    async def test_wait_creates_a_missing_thread_on_request(self, client: LangGraphClient, unknown: str) -> None:
        with refused(404):
            await client.runs.wait(unknown, "counter", input={})
        assert await client.runs.wait(unknown, "counter", input={}, if_not_exists="create") == COUNTED
        assert (await client.threads.get(unknown))["status"] == "idle"

    async def test_wait_for_a_delayed_run(self, client: LangGraphClient, thread_id: str) -> None:
        assert await client.runs.wait(thread_id, "counter", input={}, after_seconds=1) == COUNTED

    async def test_on_completion_keeps_an_existing_thread(self, client: LangGraphClient, thread_id: str) -> None:
        options: dict[str, Any] = {"on_completion": "delete"}  # the client takes it, and declares that it does not
        await client.runs.wait(thread_id, "counter", input={}, **options)
        assert (await client.threads.get(thread_id))["values"] == COUNTED

    async def test_on_completion_keep_keeps_a_new_thread(self, client: LangGraphClient) -> None:
        made: list[RunCreateMetadata] = []
        await client.runs.wait(None, "counter", input={}, on_completion="keep", on_run_created=made.append)
        assert made[0]["thread_id"] is not None
        assert (await client.threads.get(made[0]["thread_id"]))["values"] == COUNTED


class TestSettings:
    """The parts of a run besides its input."""

    async def test_context_reaches_the_graph(self, client: LangGraphClient, thread_id: str) -> None:
        seen = plain(await client.runs.wait(thread_id, "configured", input={}, context={"colour": "red"}))
        assert seen["context"] == "red"

    async def test_context_has_the_defaults_of_its_schema(self, client: LangGraphClient, thread_id: str) -> None:
        seen = plain(await client.runs.wait(thread_id, "preferences", input={}))
        assert seen["shown"] == {"colour": "blue", "sizes": [1, 2]}
        told: Any = {"colour": "red", "unknown": 1}
        seen = plain(await client.runs.wait(thread_id, "preferences", input={}, context=told))
        assert seen["shown"] == {"colour": "red", "sizes": [1, 2]}
        seen = plain(await client.runs.wait(thread_id, "preferences", input={}, config={"configurable": told}))
        assert seen["shown"] == {"colour": "red", "sizes": [1, 2]}

    async def test_whole_runnable_config_is_taken(self, client: LangGraphClient, thread_id: str) -> None:
        config: Any = {
            "tags": ["t"],
            "metadata": {"asked": "here"},
            "run_name": "named",
            "max_concurrency": 2,
            "recursion_limit": 20,
            "callbacks": None,
            "run_id": None,
            "configurable": {"thread_id": thread_id, "checkpoint_ns": "", "__pregel_resuming": False, "size": "s"},
        }
        run = await client.runs.create(thread_id, "configured", input={}, config=config)
        seen = await client.runs.join(thread_id, run["run_id"])
        assert seen["given"]["size"] == "s"
        assert seen["about"]["asked"] == "here"
        assert seen["limits"] == {"max_concurrency": 2, "recursion_limit": 20}
        assert plain(run["metadata"])["asked"] == "here"

    async def test_run_context_overrides_the_assistants(self, client: LangGraphClient, thread_id: str) -> None:
        assistant = await client.assistants.create("configured", context={"colour": "red"})
        told = {"colour": "green"}
        seen = plain(await client.runs.wait(thread_id, assistant["assistant_id"], input={}, context=told))
        assert seen["context"] == "green"

    async def test_config_is_merged_with_the_assistants(self, client: LangGraphClient, thread_id: str) -> None:
        assistant = await client.assistants.create("configured", {"configurable": {"size": "small", "shape": "flat"}})
        run = await client.runs.create(
            thread_id, assistant["assistant_id"], input={}, config={"configurable": {"size": "large"}, "tags": ["t"]}
        )
        seen = await client.runs.join(thread_id, run["run_id"])
        expected = {
            "size": "large",
            "shape": "flat",
            "thread_id": thread_id,
            "run_id": run["run_id"],
            "assistant_id": assistant["assistant_id"],
            "graph_id": "configured",
        }
        assert {name: seen["given"].get(name) for name in expected} == expected
        assert "t" in seen["tags"]

    async def test_metadata_reaches_the_graph(self, client: LangGraphClient, thread_id: str) -> None:
        await client.threads.update(thread_id, metadata={"of": "thread", "thread": "yes"})
        assistant = await client.assistants.create("configured", metadata={"of": "assistant", "assistant": "yes"})
        run = await client.runs.create(thread_id, assistant["assistant_id"], input={}, metadata={"of": "run"})
        seen = (await client.runs.join(thread_id, run["run_id"]))["about"]
        assert (seen["of"], seen["thread"], seen["assistant"]) == ("run", "yes", "yes")
        assert (seen["run_id"], seen["graph_id"]) == (run["run_id"], "configured")
        assert plain(run["metadata"])["of"] == "run"

    @pytest.mark.reference_differs("without a project's authentication it has no users")
    async def test_graph_sees_its_user(self, client: LangGraphClient, thread_id: str) -> None:
        seen = plain(await client.runs.wait(thread_id, "caller", input={}))
        assert seen["user"]["display_name"].endswith("@example.com")
        assert seen["user"]["is_authenticated"] is True
        assert seen["configured"] == seen["user"] | {"id": seen["user"]["identity"]}
        assert seen["server"] == ["caller", (await built_in(client, "caller"))["assistant_id"]]

    @pytest.mark.parametrize("graph", ["factory", "async_factory"])
    async def test_factory_receives_the_config(self, client: LangGraphClient, thread_id: str, graph: str) -> None:
        flat: Config = {"configurable": {"shape": "flat"}}
        assert await client.runs.wait(thread_id, graph, input={}, config=flat) == {"shape": "flat"}
        assert await client.runs.wait(thread_id, graph, input={}) == {"shape": "round"}

    async def test_factory_receives_the_context(self, client: LangGraphClient, thread_id: str) -> None:
        assert await client.runs.wait(thread_id, "factory", input={}, context={"shape": "flat"}) == {"shape": "flat"}

    async def test_graph_uses_the_store(self, client: LangGraphClient, thread_id: str, mark: str) -> None:
        await client.runs.wait(thread_id, "memory", input={"place": mark, "text": "first"})
        ended = plain(await client.runs.wait(None, "memory", input={"place": mark, "text": "second"}))
        assert ended["found"] == ["first", "second"]
        assert (await client.store.get_item(["notes", mark], "first"))["value"] == {"text": "first"}

    @pytest.mark.parametrize(("durability", "checkpoints"), [("sync", 5), ("async", 5), ("exit", 1)])
    async def test_durability_determines_the_checkpoints(
        self, client: LangGraphClient, thread_id: str, durability: Durability, checkpoints: int
    ) -> None:
        await client.runs.wait(thread_id, "counter", input={}, durability=durability)
        assert len(await client.threads.get_history(thread_id)) == checkpoints


class TestWebhook:
    async def test_webhook_receives_the_result(
        self, client: LangGraphClient, thread_id: str, receiver: Receiver
    ) -> None:
        run = await client.runs.create(thread_id, "counter", input={}, webhook=receiver.url)
        told = await receiver.received()
        assert (told["run_id"], told["thread_id"], told["status"]) == (run["run_id"], thread_id, "success")
        assert told["values"] == COUNTED
        assert told["run_started_at"] <= told["run_ended_at"] <= told["webhook_sent_at"]

    async def test_webhook_receives_the_error(
        self, client: LangGraphClient, thread_id: str, receiver: Receiver
    ) -> None:
        await client.runs.wait(thread_id, "failing", input={}, webhook=receiver.url, raise_error=False)
        told = await receiver.received()
        assert told["status"] == "error"
        assert told["error"] == {"error": "ValueError", "message": "It is broken."}

    async def test_webhook_of_a_stateless_run(self, client: LangGraphClient, receiver: Receiver) -> None:
        made: list[RunCreateMetadata] = []
        await client.runs.wait(None, "counter", input={}, webhook=receiver.url, on_run_created=made.append)
        assert (await receiver.received())["run_id"] == made[0]["run_id"]


class TestList:
    async def test_runs_are_listed_newest_first(self, client: LangGraphClient, thread_id: str) -> None:
        await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
        runs = [await client.runs.create(thread_id, "counter", input={}) for _ in range(2)]
        await client.runs.join(thread_id, runs[1]["run_id"])
        listed = await client.runs.list(thread_id)
        assert [run["status"] for run in listed] == ["success", "success", "error"]
        assert [run["run_id"] for run in listed[:2]] == [runs[1]["run_id"], runs[0]["run_id"]]
        assert [run["run_id"] for run in await client.runs.list(thread_id, status="error")] == [listed[2]["run_id"]]
        assert await client.runs.list(thread_id, limit=1, offset=1) == [listed[1]]
        selected = await client.runs.list(thread_id, limit=1, select=["run_id", "status"])
        assert [plain(run) for run in selected] == [{"run_id": runs[1]["run_id"], "status": "success"}]

    async def test_invalid_list_request_is_rejected(self, client: LangGraphClient, thread_id: str) -> None:
        with refused(422):
            await client.runs.list(thread_id, select=["size"])  # type: ignore[list-item]  # it is refused

    @pytest.mark.reference_differs("it answers that there is none")
    async def test_unknown_status_is_rejected(self, client: LangGraphClient, thread_id: str) -> None:
        with refused(422):
            await client.runs.list(thread_id, status="tired")  # type: ignore[arg-type]  # it is refused


class TestJoin:
    async def test_join_of_a_running_run(self, client: LangGraphClient, thread_id: str) -> None:
        run_id = await asleep(client, thread_id, seconds=2)
        ended = await client.runs.join(thread_id, run_id)
        assert ended["done"] == ["lie_down", "sleep"]
        assert (await client.runs.get(thread_id, run_id))["status"] == "success"

    async def test_join_of_an_ended_run(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "counter", input={})
        assert await client.runs.join(thread_id, run["run_id"]) == COUNTED
        assert await client.runs.join(thread_id, run["run_id"]) == COUNTED

    async def test_join_of_a_failed_run(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "failing", input={})
        failed = {"__error__": {"error": "ValueError", "message": "It is broken."}}
        assert await client.runs.join(thread_id, run["run_id"]) == failed
        assert await client.runs.join(thread_id, run["run_id"]) == failed

    async def test_join_returns_the_interrupt(self, client: LangGraphClient, thread_id: str) -> None:
        run = await client.runs.create(thread_id, "approval", input={"topic": "go"})
        for _ in range(2):
            asked = (await client.runs.join(thread_id, run["run_id"]))["__interrupt__"]
            assert [interrupt["value"] for interrupt in asked] == [{"question": "May I go?"}]


class TestDelete:
    async def test_ended_run_is_deleted(self, client: LangGraphClient, thread_id: str) -> None:
        first = await client.runs.create(thread_id, "counter", input={})
        second = await client.runs.create(thread_id, "counter", input={})
        await client.runs.join(thread_id, second["run_id"])
        await client.runs.delete(thread_id, first["run_id"])
        with refused(404):
            await client.runs.get(thread_id, first["run_id"])
        assert [run["run_id"] for run in await client.runs.list(thread_id)] == [second["run_id"]]

    async def test_delete_of_unknown_run_is_404(self, client: LangGraphClient, thread_id: str, unknown: str) -> None:
        with refused(404):
            await client.runs.delete(thread_id, unknown)


async def test_run_of_another_thread_is_404(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "counter", input={})
    await client.runs.join(thread_id, run["run_id"])
    other = (await client.threads.create())["thread_id"]
    with refused(404):
        await client.runs.get(other, run["run_id"])
    with refused(404):
        await client.runs.cancel(other, run["run_id"])
    with refused(404):
        await client.runs.delete(other, run["run_id"])


async def test_unknown_run_is_404(client: LangGraphClient, thread_id: str, unknown: str) -> None:
    with refused(404):
        await client.runs.get(thread_id, unknown)
    with refused(404):
        await client.runs.cancel(thread_id, unknown)
    with refused(404):
        await client.runs.cancel(thread_id, unknown, wait=True)


@pytest.mark.reference_differs("it answers 200 with an error inside")
async def test_join_of_unknown_run_is_404(client: LangGraphClient, thread_id: str, unknown: str) -> None:
    with refused(404):
        await client.runs.join(thread_id, unknown)
