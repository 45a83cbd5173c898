"""Threads: made, found, changed, copied and pruned."""

import uuid
from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Thread

from tests.conformance.support import asleep, copy_of, plain, refused


async def test_thread_is_created(client: LangGraphClient, mark: str) -> None:
    thread = await client.threads.create(metadata={"mark": mark})
    assert str(uuid.UUID(thread["thread_id"])) == thread["thread_id"]
    assert thread["metadata"] == {"mark": mark}
    assert thread["status"] == "idle"
    assert not thread["values"]
    assert thread["created_at"] <= thread["updated_at"]
    assert (await client.threads.get(thread["thread_id"]))["metadata"] == {"mark": mark}


async def test_thread_id_can_be_chosen(client: LangGraphClient, unknown: str) -> None:
    thread = await client.threads.create(thread_id=unknown, metadata={"made": "first"})
    assert thread["thread_id"] == unknown
    with refused(409):
        await client.threads.create(thread_id=unknown)
    with refused(409):
        await client.threads.create(thread_id=unknown, if_exists="raise")
    again = await client.threads.create(thread_id=unknown, if_exists="do_nothing", metadata={"made": "second"})
    assert again["metadata"] == {"made": "first"}


async def test_thread_is_created_for_a_graph(client: LangGraphClient, mark: str) -> None:
    thread = await client.threads.create(graph_id="counter", metadata={"mark": mark})
    assert thread["metadata"] == {"mark": mark, "graph_id": "counter"}


async def test_thread_is_created_with_supersteps(client: LangGraphClient) -> None:
    steps = [("one", 1, ["one"]), ("two", 2, ["two"])]
    thread = await client.threads.create(
        graph_id="counter",
        supersteps=[
            {"updates": [{"values": {"count": count, "trail": trail}, "as_node": node}]} for node, count, trail in steps
        ],
    )
    assert thread["values"] == {"count": 3, "trail": ["one", "two"]}
    assert thread["status"] == "interrupted"
    state = await client.threads.get_state(thread["thread_id"])
    assert (state["values"], state["next"]) == ({"count": 3, "trail": ["one", "two"]}, ["three"])
    assert len(await client.threads.get_history(thread["thread_id"])) == 2
    ended = await client.runs.wait(thread["thread_id"], "counter")
    assert ended == {"count": 4, "trail": ["one", "two", "three"]}


@pytest.mark.reference_differs("it answers 500")
async def test_supersteps_can_contain_commands(client: LangGraphClient) -> None:
    command = {"update": {"count": 9}}
    thread = await client.threads.create(
        graph_id="counter", supersteps=[{"updates": [{"values": None, "command": command, "as_node": "one"}]}]
    )
    assert plain(thread["values"])["count"] == 9


@pytest.mark.reference_differs("it answers 201 with a message instead of a thread")
async def test_supersteps_require_a_graph(client: LangGraphClient) -> None:
    with refused(422):
        await client.threads.create(supersteps=[{"updates": [{"values": {"count": 1}, "as_node": "one"}]}])


async def test_invalid_thread_is_rejected(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    with refused(422):
        await client.threads.create(thread_id="no-uuid")
    with refused(422):
        await client.threads.create(ttl={"ttl": "soon"})
    assert (await http.post("/threads", json={"metadata": "none"})).status_code == 422
    assert (await http.post("/threads", json={"if_exists": "perhaps"})).status_code == 422


@pytest.mark.reference_differs("in memory it keeps no time to live")
async def test_thread_has_its_ttl(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create(ttl=5))["thread_id"]
    ttl = plain(await client.threads.get(thread_id, include=["ttl"]))["ttl"]
    assert (ttl["strategy"], ttl["ttl_minutes"]) == ("delete", 5)
    assert ttl["expires_at"]
    assert "ttl" not in await client.threads.get(thread_id)

    await client.threads.update(thread_id, metadata={}, ttl={"ttl": 7, "strategy": "keep_latest"})
    ttl = plain(await client.threads.get(thread_id, include=["ttl"]))["ttl"]
    assert (ttl["strategy"], ttl["ttl_minutes"]) == ("keep_latest", 7)


async def test_ttl_is_updated(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create(ttl={"ttl": 5, "strategy": "keep_latest"}))["thread_id"]
    updated = await client.threads.update(thread_id, metadata={"a": 1}, ttl=7)
    assert updated["metadata"] == {"a": 1}


@pytest.mark.parametrize(("thread_id", "status"), [(str(uuid.uuid4()), 404), ("no-uuid", 422)], ids=["unknown", "none"])
async def test_unknown_thread_is_404(client: LangGraphClient, thread_id: str, status: int) -> None:
    with refused(status):
        await client.threads.get(thread_id)
    with refused(status):
        await client.threads.update(thread_id, metadata={"a": 1})
    with refused(status):
        await client.threads.delete(thread_id)
    with refused(status):
        await client.threads.get_state(thread_id)
    with refused(status):
        await client.threads.update_state(thread_id, {"count": 1})
    with refused(status):
        await client.threads.get_history(thread_id)
    with refused(status):
        await client.runs.list(thread_id)


async def test_thread_metadata_is_updated(client: LangGraphClient, mark: str) -> None:
    thread = await client.threads.create(metadata={"mark": mark, "kept": 1, "inner": {"a": 1}})
    updated = await client.threads.update(thread["thread_id"], metadata={"mark": "new", "more": 2, "inner": {"b": 2}})
    assert updated["metadata"] == {"mark": "new", "kept": 1, "more": 2, "inner": {"b": 2}}
    assert updated["updated_at"] > thread["updated_at"]
    assert updated["created_at"] == thread["created_at"]
    assert (await client.threads.get(thread["thread_id"]))["metadata"] == updated["metadata"]


async def test_minimal_update_returns_nothing(client: LangGraphClient, thread_id: str) -> None:
    answer: object = await client.threads.update(thread_id, metadata={"a": 1}, return_minimal=True)  # type: ignore[func-returns-value]  # the assertion itself
    assert answer is None
    assert (await client.threads.get(thread_id))["metadata"] == {"a": 1}


async def test_deleted_thread_is_gone(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "counter", input={})
    await client.runs.join(thread_id, run["run_id"])
    await client.threads.delete(thread_id)
    with refused(404):
        await client.threads.get(thread_id)
    with refused(404):
        await client.threads.get_state(thread_id)
    with refused(404):
        await client.runs.get(thread_id, run["run_id"])


async def test_thread_has_the_result_of_its_run(client: LangGraphClient, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "counter", input={"count": 1})
    await client.runs.join(thread_id, run["run_id"])
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "idle"
    assert thread["values"] == {"count": 4, "trail": ["one", "two", "three"]}
    assert thread["interrupts"] == {}
    assert thread["metadata"] == {"graph_id": "counter", "assistant_id": run["assistant_id"]}


async def test_thread_is_busy_during_a_run(client: LangGraphClient, thread_id: str) -> None:
    run_id = await asleep(client, thread_id)
    assert (await client.threads.get(thread_id))["status"] == "busy"
    await client.runs.cancel(thread_id, run_id, wait=True)


async def test_thread_shows_the_error_of_its_run(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "failing", input={}, raise_error=False)
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    assert thread["values"] == {"count": 1, "trail": ["one"]}
    assert plain(thread)["error"] == {"error": "ValueError", "message": "It is broken."}
    ended = await client.runs.wait(thread_id, "counter", input={})
    assert plain(ended)["count"] == 4
    assert (await client.threads.get(thread_id))["status"] == "idle"


class TestSearch:
    """Three threads: one that counted to three, one that counted to ten, one that waits for an answer."""

    @pytest.fixture
    async def made(self, client: LangGraphClient, mark: str) -> list[Thread]:
        made = [await client.threads.create(metadata={"mark": mark, "nested": {"n": n}}) for n in range(3)]
        ids = [thread["thread_id"] for thread in made]
        await client.runs.wait(ids[1], "counter", input={"count": 7})
        await client.runs.wait(ids[0], "counter", input={})
        await client.runs.wait(ids[2], "approval", input={"topic": mark})
        return [await client.threads.get(thread_id) for thread_id in ids]

    async def test_search_filters_sorts_and_selects(
        self, client: LangGraphClient, made: list[Thread], mark: str
    ) -> None:
        """One test for all, because each of its threads takes a run."""
        await self._filters(client, made, mark)
        await self._order(client, made, mark)
        await self._shape(client, made, mark)
        await self._count(client, made, mark)

    async def _filters(self, client: LangGraphClient, made: list[Thread], mark: str) -> None:
        async def found(**search: Any) -> set[int]:
            threads = await client.threads.search(metadata={"mark": mark} | search.pop("metadata", {}), **search)
            return {ids.index(thread["thread_id"]) for thread in threads}

        ids = [thread["thread_id"] for thread in made]
        assert await found() == {0, 1, 2}
        assert await found(metadata={"nested": {"n": 1}}) == {1}
        assert await found(metadata={"graph_id": "counter"}) == {0, 1}
        assert await found(values={"count": 10}) == {1}
        assert await found(values={"topic": mark}) == {2}
        assert await found(status="idle") == {0, 1}
        assert await found(status="interrupted") == {2}
        assert await found(status="error") == set()
        assert await found(ids=[ids[0], ids[2], str(uuid.uuid4())]) == {0, 2}

    async def _order(self, client: LangGraphClient, made: list[Thread], mark: str) -> None:
        async def found(**search: Any) -> list[int]:
            threads = await client.threads.search(metadata={"mark": mark}, **search)
            return [ids.index(thread["thread_id"]) for thread in threads]

        ids = [thread["thread_id"] for thread in made]
        for field, ascending in [
            ("created_at", [0, 1, 2]),
            ("updated_at", [1, 0, 2]),
            ("state_updated_at", [1, 0, 2]),
        ]:
            assert await found(sort_by=field, sort_order="asc") == ascending
            assert await found(sort_by=field, sort_order="desc") == ascending[::-1]
        by_id = await found(sort_by="thread_id", sort_order="asc")
        assert [ids[index] for index in by_id] == sorted(ids)
        assert (await found(sort_by="status", sort_order="asc"))[-1] == 2
        assert await found(sort_by="created_at", sort_order="asc", limit=1, offset=1) == [1]

    async def _shape(self, client: LangGraphClient, made: list[Thread], mark: str) -> None:
        (selected,) = await client.threads.search(ids=[made[1]["thread_id"]], select=["thread_id", "values"])
        assert plain(selected) == {"thread_id": made[1]["thread_id"], "values": made[1]["values"]}
        extract = {"n": "values.count", "last": "values.trail[-1]", "mark": "metadata.mark", "none": "values.none"}
        (extracted,) = await client.threads.search(ids=[made[1]["thread_id"]], extract=extract, select=["thread_id"])
        assert extracted["extracted"] == {"n": 10, "last": "three", "mark": mark, "none": None}
        (waiting,) = await client.threads.search(metadata={"mark": mark}, status="interrupted")
        assert waiting["interrupts"] == made[2]["interrupts"]
        assert waiting["interrupts"]

    async def _count(self, client: LangGraphClient, made: list[Thread], mark: str) -> None:
        assert await client.threads.count(metadata={"mark": mark}) == len(made)
        assert await client.threads.count(metadata={"mark": mark}, status="idle") == 2
        assert await client.threads.count(metadata={"mark": mark}, values={"count": 3}) == 1

    async def test_search_is_paginated(self, client: LangGraphClient, http: httpx2.AsyncClient, mark: str) -> None:
        for _ in range(2):
            await client.threads.create(metadata={"mark": mark})
        first = await http.post("/threads/search", json={"metadata": {"mark": mark}, "limit": 1})
        assert len(first.json()) == 1
        assert first.headers["X-Pagination-Next"] == "1"
        last = await http.post("/threads/search", json={"metadata": {"mark": mark}, "limit": 1, "offset": 1})
        assert len(last.json()) == 1
        assert last.json() != first.json()
        assert "X-Pagination-Next" not in last.headers

    async def test_invalid_search_is_rejected(self, client: LangGraphClient, mark: str) -> None:
        wrong: list[dict[str, Any]] = [
            {"limit": -1},
            {"limit": 1001},
            {"offset": -1},
            {"status": "tired"},
            {"sort_by": "size"},
            {"sort_order": "sideways"},
            {"select": ["size"]},
            {"extract": {str(number): "values.a" for number in range(11)}},
        ]
        for search in wrong:
            with refused(422):
                await client.threads.search(metadata={"mark": mark}, **search)
        with refused(422):
            await client.threads.count(metadata={"mark": mark}, status="tired")  # type: ignore[arg-type]  # it is refused
        with refused(422, reference=400):
            await client.threads.search(ids=["no-uuid"])


async def test_copy_has_the_history(client: LangGraphClient, thread_id: str, mark: str) -> None:
    await client.threads.update(thread_id, metadata={"mark": mark})
    await client.runs.wait(thread_id, "counter", input={})
    copied = await copy_of(client, thread_id)
    assert copied["thread_id"] != thread_id
    assert plain(copied["metadata"])["mark"] == mark
    state = await client.threads.get_state(copied["thread_id"])
    assert state["values"] == {"count": 3, "trail": ["one", "two", "three"]}
    assert state["checkpoint"]["thread_id"] == copied["thread_id"]
    whole = await client.threads.get_history(thread_id)
    assert len(await client.threads.get_history(copied["thread_id"])) == len(whole)

    await client.runs.wait(copied["thread_id"], "counter", input={})
    assert plain((await client.threads.get_state(copied["thread_id"]))["values"])["count"] == 6
    assert plain((await client.threads.get_state(thread_id))["values"])["count"] == 3


async def test_copy_keeps_the_interrupt(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "approval", input={"topic": "go"})
    copied = await copy_of(client, thread_id)
    ended = await client.runs.wait(copied["thread_id"], "approval", command={"resume": "yes"})
    assert plain(ended)["answers"] == ["prepared", "yes", "finished"]
    assert (await client.threads.get(thread_id))["status"] == "interrupted"


@pytest.mark.reference_differs("it leaves the copy's values out until its next run")
async def test_copy_has_the_values(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "counter", input={})
    copied = await copy_of(client, thread_id)
    assert plain(copied["values"])["count"] == 3


async def test_copy_of_unknown_thread_is_404(client: LangGraphClient, unknown: str) -> None:
    with refused(404, reference=409):
        await client.threads.copy(unknown)


async def test_prune_deletes_threads(client: LangGraphClient, thread_id: str, unknown: str) -> None:
    other = (await client.threads.create())["thread_id"]
    assert await client.threads.prune([thread_id, unknown]) == {"pruned_count": 1}
    with refused(404):
        await client.threads.get(thread_id)
    assert (await client.threads.get(other))["thread_id"] == other
    assert await client.threads.prune([]) == {"pruned_count": 0}


@pytest.mark.reference_differs("in memory it cannot")
async def test_prune_keeps_the_latest_state(client: LangGraphClient, thread_id: str) -> None:
    await client.runs.wait(thread_id, "counter", input={})
    assert await client.threads.prune([thread_id], strategy="keep_latest") == {"pruned_count": 1}
    (latest,) = await client.threads.get_history(thread_id)
    assert latest["values"] == {"count": 3, "trail": ["one", "two", "three"]}
    assert plain(await client.runs.wait(thread_id, "counter", input={}))["count"] == 6


async def test_invalid_prune_is_rejected(client: LangGraphClient, thread_id: str) -> None:
    with refused(422):
        await client.threads.prune([thread_id], strategy="everything")  # type: ignore[arg-type]  # it is refused
    with refused(422):
        await client.threads.prune(["no-uuid"])
