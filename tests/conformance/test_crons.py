"""Crons: kept, found, changed; and fired."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Cron, CronSortBy

from tests.conformance.support import REFERENCE, built_in, eventually, plain, refused

YEARLY = "0 0 1 1 *"
EVERY_SECOND = "* * * * * *"


async def create(client: LangGraphClient, **options: Any) -> Cron:
    """Create a cron for `counter`; the client declares that it returns a run."""
    made: Any = await client.crons.create("counter", schedule=YEARLY, **options)
    cron: Cron = made
    return cron


async def test_cron_is_created_with_its_settings(client: LangGraphClient, mark: str) -> None:
    end = datetime.now(UTC) + timedelta(days=1000)
    cron = await create(
        client,
        input={"count": 1},
        metadata={"mark": mark},
        config={"tags": ["t"]},
        interrupt_before=["two"],
        interrupt_after=["one"],
        webhook="http://127.0.0.1:9/hook",
        on_run_completed="keep",
        multitask_strategy="reject",
        end_time=end,
        enabled=False,
        timezone="Europe/Berlin",
        stream_mode=["values"],
        stream_subgraphs=True,
        stream_resumable=True,
        durability="sync",
    )
    assert cron["assistant_id"] == (await built_in(client, "counter"))["assistant_id"]
    assert cron["thread_id"] is None
    assert (cron["schedule"], cron["timezone"], cron["enabled"]) == (YEARLY, "Europe/Berlin", False)
    assert cron["metadata"] == {"mark": mark}
    assert cron["on_run_completed"] == "keep"
    assert datetime.fromisoformat(str(cron["end_time"])) == end
    following = datetime.fromisoformat(str(cron["next_run_date"]))
    assert (following.astimezone(UTC).month, following.astimezone(UTC).hour) == (12, 23)
    expected = {
        "input": {"count": 1},
        "interrupt_before": ["two"],
        "interrupt_after": ["one"],
        "webhook": "http://127.0.0.1:9/hook",
        "multitask_strategy": "reject",
        "stream_mode": ["values"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "durability": "sync",
    }
    assert {name: cron["payload"][name] for name in expected} == expected
    assert cron["payload"]["config"]["tags"] == ["t"]
    await client.crons.delete(cron["cron_id"])


async def test_cron_context_reaches_its_runs(client: LangGraphClient) -> None:
    made: Any = await client.crons.create("configured", schedule=YEARLY, context={"colour": "red"})
    assert made["payload"]["context"] == {"colour": "red"}
    assert made["on_run_completed"] == "delete"
    assert made["enabled"] is True
    await client.crons.delete(made["cron_id"])


async def test_cron_is_created_for_a_thread(client: LangGraphClient, thread_id: str) -> None:
    made: Any = await client.crons.create_for_thread(thread_id, "counter", schedule=YEARLY, input={"count": 1})
    assert (made["thread_id"], made["on_run_completed"]) == (thread_id, None)
    assert made["payload"]["input"] == {"count": 1}
    await client.threads.delete(thread_id)
    assert await client.crons.search(thread_id=thread_id) == []


async def test_invalid_cron_is_rejected(client: LangGraphClient, unknown: str) -> None:
    with refused(422):
        await client.crons.create("counter", schedule="now and then")
    with refused(422):
        await client.crons.create("counter", schedule=YEARLY, timezone="Mars/Olympus")
    with refused(404):
        await client.crons.create(unknown, schedule=YEARLY)
    with refused(404):
        await client.crons.create_for_thread(unknown, "counter", schedule=YEARLY)


async def test_cron_is_returned(client: LangGraphClient, http: httpx2.AsyncClient, unknown: str) -> None:
    cron = await create(client)
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == cron
    assert (await http.get(f"/runs/crons/{unknown}")).status_code == 404
    assert (await http.get("/runs/crons/no-uuid")).status_code == 422
    await client.crons.delete(cron["cron_id"])


async def test_cron_is_updated(client: LangGraphClient, mark: str) -> None:
    end = datetime.now(UTC) + timedelta(days=1000)
    cron = await create(client, input={"count": 1}, metadata={"mark": mark}, interrupt_before=["two"])
    cron_id = cron["cron_id"]
    updated = await client.crons.update(
        cron_id,
        schedule="0 0 2 1 *",
        timezone="UTC",
        end_time=end,
        input={"count": 2},
        metadata={"more": 1},
        config={"tags": ["t"]},
        webhook="http://127.0.0.1:9/other",
        interrupt_after="*",
        on_run_completed="keep",
        enabled=False,
        stream_mode="updates",
        stream_subgraphs=True,
        stream_resumable=True,
        durability="exit",
    )
    assert (updated["schedule"], updated["timezone"], updated["enabled"]) == ("0 0 2 1 *", "UTC", False)
    assert datetime.fromisoformat(str(updated["end_time"])) == end
    assert updated["metadata"] == {"mark": mark, "more": 1}
    assert updated["on_run_completed"] == "keep"
    assert updated["updated_at"] > cron["updated_at"]
    assert datetime.fromisoformat(str(updated["next_run_date"])).day == 2
    payload = updated["payload"]
    assert (payload["input"], payload["interrupt_before"], payload["interrupt_after"]) == ({"count": 2}, ["two"], "*")
    assert (payload["webhook"], payload["durability"]) == ("http://127.0.0.1:9/other", "exit")

    assert (await client.crons.update(cron_id, end_time=None))["end_time"] is None
    assert (await client.crons.update(cron_id, enabled=True))["enabled"] is True
    await client.crons.delete(cron_id)


async def test_invalid_cron_update_is_rejected(client: LangGraphClient, http: httpx2.AsyncClient, unknown: str) -> None:
    cron = await create(client)
    with refused(404):
        await client.crons.update(unknown, enabled=True)
    with refused(422):
        await client.crons.update(cron["cron_id"], schedule="now and then")
    nothing = await http.patch(f"/runs/crons/{cron['cron_id']}", json={})
    assert nothing.status_code == (400 if REFERENCE else 422)
    await client.crons.delete(cron["cron_id"])


async def test_deleted_cron_is_gone(client: LangGraphClient, mark: str) -> None:
    cron = await create(client, metadata={"mark": mark})
    await client.crons.delete(cron["cron_id"])
    assert await client.crons.search(metadata={"mark": mark}) == []
    with refused(404):
        await client.crons.delete(cron["cron_id"])


class TestSearch:
    """Three crons: for a thread, without one, and one that is off."""

    @pytest.fixture
    async def made(self, client: LangGraphClient, thread_id: str, mark: str) -> AsyncIterator[list[Cron]]:
        first: Any = await client.crons.create_for_thread(
            thread_id, "counter", schedule="0 0 3 1 *", metadata={"mark": mark}
        )
        second = await create(client, metadata={"mark": mark}, end_time=datetime(2100, 1, 1, tzinfo=UTC))
        third: Any = await client.crons.create("echo", schedule="0 0 2 1 *", metadata={"mark": mark}, enabled=False)
        made: list[Cron] = [first, second, third]
        yield made
        for cron in made:
            await client.crons.delete(cron["cron_id"])

    async def test_search_filters_crons(
        self, client: LangGraphClient, made: list[Cron], thread_id: str, mark: str
    ) -> None:
        async def found(**search: Any) -> set[int]:
            ids = [cron["cron_id"] for cron in made]
            return {ids.index(cron["cron_id"]) for cron in await client.crons.search(**search)}

        assert await found(metadata={"mark": mark}) == {0, 1, 2}
        assert await found(thread_id=thread_id) == {0}
        assert await found(metadata={"mark": mark}, enabled=True) == {0, 1}
        assert await found(metadata={"mark": mark}, assistant_id=made[2]["assistant_id"]) == {2}
        assert await client.crons.count(metadata={"mark": mark}) == 3
        assert await client.crons.count(thread_id=thread_id) == 1
        assert await client.crons.count(metadata={"mark": mark}, assistant_id=made[2]["assistant_id"]) == 1

    @pytest.mark.parametrize(("field", "ascending"), [("created_at", [0, 1, 2]), ("next_run_date", [1, 2, 0])])
    async def test_search_is_sorted(
        self, client: LangGraphClient, made: list[Cron], mark: str, field: CronSortBy, ascending: list[int]
    ) -> None:
        expected = [made[index]["cron_id"] for index in ascending]
        up = await client.crons.search(metadata={"mark": mark}, sort_by=field, sort_order="asc")
        assert [cron["cron_id"] for cron in up] == expected
        down = await client.crons.search(metadata={"mark": mark}, sort_by=field, sort_order="desc")
        assert [cron["cron_id"] for cron in down] == expected[::-1]

    async def test_search_is_paginated_and_selects_fields(
        self, client: LangGraphClient, http: httpx2.AsyncClient, made: list[Cron], mark: str
    ) -> None:
        selected = await client.crons.search(metadata={"mark": mark}, select=["cron_id", "schedule"])
        assert all(set(cron) == {"cron_id", "schedule"} for cron in selected)
        order: dict[str, Any] = {"metadata": {"mark": mark}, "sort_by": "created_at", "sort_order": "asc"}
        (last,) = await client.crons.search(**order, limit=2, offset=2)
        assert last["cron_id"] == made[2]["cron_id"]
        answer = await http.post("/runs/crons/search", json=order | {"limit": 2})
        assert answer.headers["X-Pagination-Next"] == "2"

    async def test_invalid_search_is_rejected(self, client: LangGraphClient) -> None:
        with refused(422):
            await client.crons.search(limit=0)
        with refused(422):
            await client.crons.search(sort_by="size")  # type: ignore[arg-type]  # it is refused


class TestFiring:
    async def test_cron_fires_on_its_thread(self, client: LangGraphClient, thread_id: str, mark: str) -> None:
        made: Any = await client.crons.create_for_thread(
            thread_id, "counter", schedule=EVERY_SECOND, input={"count": 1}, metadata={"mark": mark}
        )
        runs = await eventually(lambda: client.runs.list(thread_id, status="success"), lambda runs: len(runs) >= 2)
        await client.crons.delete(made["cron_id"])
        assert all(plain(run["metadata"])["mark"] == mark for run in runs)
        assert all(plain(run)["kwargs"]["input"] == {"count": 1} for run in runs)

    async def test_cron_fires_on_new_threads(self, client: LangGraphClient, mark: str) -> None:
        made: Any = await client.crons.create(
            "counter", schedule=EVERY_SECOND, input={}, metadata={"mark": mark}, on_run_completed="keep"
        )

        async def threads() -> list[Any]:
            return list(await client.threads.search(metadata={"mark": mark}, status="idle"))

        kept = await eventually(threads, lambda kept: len(kept) >= 2)
        await client.crons.delete(made["cron_id"])
        assert all(thread["values"] == {"count": 3, "trail": ["one", "two", "three"]} for thread in kept)

    async def test_disabled_cron_does_not_fire(self, client: LangGraphClient, thread_id: str) -> None:
        assert await self._fires_beside_one_that_fires(client, thread_id, enabled=False) == 0

    @pytest.mark.reference_differs("its scheduler fires nothing at all while any cron has an end")
    async def test_ended_cron_does_not_fire(self, client: LangGraphClient, thread_id: str) -> None:
        over = datetime.now(UTC) - timedelta(days=1)
        assert await self._fires_beside_one_that_fires(client, thread_id, end_time=over) == 0

    async def _fires_beside_one_that_fires(self, client: LangGraphClient, thread_id: str, **options: Any) -> int:
        other = (await client.threads.create())["thread_id"]
        made: list[Any] = [
            await client.crons.create_for_thread(thread_id, "counter", schedule=EVERY_SECOND, input={}, **options),
            await client.crons.create_for_thread(other, "counter", schedule=EVERY_SECOND, input={}),
        ]
        try:
            await eventually(lambda: client.runs.list(other), lambda runs: len(runs) >= 2)
        finally:
            for cron in made:
                await client.crons.delete(cron["cron_id"])
        return len(await client.runs.list(thread_id))
