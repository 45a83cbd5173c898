"""Crons: kept as LangGraph's own client asks for them, and made when they are due, once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any, LiteralString
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import httpx2
import psycopg
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from project4_agent_api.assistants.resolution import built_in_assistant_id
from project4_agent_api.core.rate_limits import RateLimit, RateLimitResult
from project4_agent_api.crons.firing import CreateRun, DueRun, FiringRules, fire_due
from project4_agent_api.crons.schedule import next_time
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from shared.errors import NotFound
from shared.owner import LOCAL_OWNER_ID
from tests.support.agent_parts import ALICE, BOB, client_of, sdk_of, status_of
from tests.support.running import running
from tests.support.until import until


@pytest.fixture
def thread(database_url: str) -> UUID:
    """A thread of Alice's."""
    thread_id = uuid4()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO threads VALUES (%s, %s, 'idle', '{}', '{}', null, '{}', null, null, null, null,"
            " now(), now(), now())",
            (thread_id, ALICE),
        )
    return thread_id


async def made(call: Coroutine[Any, Any, Any]) -> dict[str, Any]:
    """The client says that a new cron is a run, which it is not."""
    answer: dict[str, Any] = await call
    return answer


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


ECHO = str(built_in_assistant_id("echo"))


async def test_cron_is_created(alice: LangGraphClient) -> None:
    cron = await made(
        alice.crons.create(
            "echo",
            schedule="0 9 * * *",
            input={"messages": [None, {"a": None}]},  # type: ignore[dict-item]  # any JSON is taken
            metadata={"m": 1},
            config={"tags": ["t"], "configurable": {"x": 1}},
            webhook="https://example.com/hook",
            interrupt_before=["reply"],
            interrupt_after="*",
            multitask_strategy="enqueue",
            timezone=ZoneInfo("America/New_York"),
            stream_mode=["values", "updates"],
            stream_subgraphs=True,
            stream_resumable=False,
            durability="sync",
        )
    )

    assert (cron["assistant_id"], cron["thread_id"], cron["user_id"]) == (ECHO, None, str(ALICE))
    assert (cron["schedule"], cron["timezone"], cron["enabled"]) == ("0 9 * * *", "America/New_York", True)
    assert (cron["metadata"], cron["on_run_completed"], cron["end_time"]) == ({"m": 1}, "delete", None)
    due = moment(cron["next_run_date"])
    assert due.astimezone(ZoneInfo("America/New_York")).hour == 9
    assert timedelta() < due - datetime.now(UTC) <= timedelta(days=1, hours=1)
    assert cron["payload"] == {
        "assistant_id": ECHO,
        "schedule": "0 9 * * *",
        "timezone": "America/New_York",
        "input": {"messages": [None, {"a": None}]},
        "metadata": {"m": 1},
        "config": {"tags": ["t"], "configurable": {"x": 1, "cron_id": cron["cron_id"]}},
        "webhook": "https://example.com/hook",
        "interrupt_before": ["reply"],
        "interrupt_after": "*",
        "multitask_strategy": "enqueue",
        "stream_mode": ["values", "updates"],
        "stream_subgraphs": True,
        "stream_resumable": False,
        "durability": "sync",
    }
    assert await alice.crons.search() == [cron]


async def test_cron_of_a_thread_is_created(alice: LangGraphClient, thread: UUID) -> None:
    end = datetime(2020, 1, 1)  # noqa: DTZ001  one without a zone is meant in UTC
    cron = await made(
        alice.crons.create_for_thread(
            str(thread), ECHO, schedule="@daily", enabled=False, end_time=end, context={"colour": "red"}
        )
    )

    assert (cron["thread_id"], cron["on_run_completed"], cron["enabled"]) == (str(thread), None, False)
    assert moment(cron["end_time"]) == end.replace(tzinfo=UTC)
    assert cron["next_run_date"] is None
    assert await status_of(alice.crons.update(cron["cron_id"], on_run_completed="keep")) == 422
    assert await status_of(alice.crons.create_for_thread(str(uuid4()), ECHO, schedule="@daily")) == 404


async def test_cron_is_updated(alice: LangGraphClient) -> None:
    cron = await made(alice.crons.create("echo", schedule="0 9 * * *", metadata={"a": 1}, input={"n": 1}))
    of = cron["cron_id"]

    changed: dict[str, Any] = dict(
        await alice.crons.update(of, schedule="30 10 * * *", timezone="Asia/Tokyo", metadata={"b": 2}, input={"n": 2})
    )
    due = moment(changed["next_run_date"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert (due.hour, due.minute) == (10, 30)
    assert changed["metadata"] == {"a": 1, "b": 2}
    assert changed["payload"]["input"] == {"n": 2}
    assert changed["updated_at"] > cron["updated_at"]
    changed = dict(await alice.crons.update(of, config={"tags": ["t"]}, on_run_completed="keep"))
    assert changed["payload"]["config"] == {"tags": ["t"], "configurable": {"cron_id": of}}
    assert changed["on_run_completed"] == "keep"
    changed = dict(await alice.crons.update(of, end_time=datetime(2020, 1, 1, tzinfo=UTC), enabled=False))
    assert (changed["next_run_date"], changed["enabled"]) == (None, False)
    assert changed["payload"]["end_time"].startswith("2020-01-01")
    changed = dict(await alice.crons.update(of, end_time=None))
    assert changed["end_time"] is None
    assert changed["next_run_date"] is not None
    assert "end_time" not in changed["payload"]
    await alice.crons.update(of, config={"configurable": {"x": 1}})
    assert await status_of(alice.crons.update(of, context={"x": 2})) == 422
    assert await status_of(alice.crons.update(of)) == 422


async def test_crons_are_searched(alice: LangGraphClient, alice_http: httpx2.AsyncClient, thread: UUID) -> None:
    first = await made(alice.crons.create("echo", schedule="0 1 * * *", metadata={"n": 1}))
    second = await made(alice.crons.create("nested", schedule="0 2 * * *", metadata={"n": 2}, enabled=False))
    third = await made(alice.crons.create_for_thread(str(thread), "echo", schedule="0 3 * * *"))

    async def found(**by: Any) -> list[str]:
        return [cron["cron_id"] for cron in await alice.crons.search(**by)]

    one, two, three = (cron["cron_id"] for cron in (first, second, third))
    assert await found() == [three, two, one]
    assert await found(assistant_id="echo") == [three, one]
    assert await found(assistant_id=ECHO, sort_by="created_at", sort_order="asc") == [one, three]
    assert await found(thread_id=str(thread)) == [three]
    assert await found(enabled=False) == [two]
    assert await found(metadata={"n": 1}) == [one]
    assert await found(limit=1, offset=1) == [two]
    assert await alice.crons.search(thread_id=str(thread), select=["cron_id", "schedule"]) == [
        {"cron_id": three, "schedule": "0 3 * * *"}
    ]
    assert await alice.crons.count() == 3
    assert await alice.crons.count(assistant_id=ECHO) == 2
    assert await alice.crons.count(thread_id=str(thread)) == 1
    assert await alice.crons.count(metadata={"n": 2}) == 1
    page = await alice_http.post("/runs/crons/search", json={"limit": 2})
    assert (page.headers["x-pagination-next"], page.headers["x-pagination-total"]) == ("2", "3")
    assert (await alice_http.get(f"/runs/crons/{one}")).json() == first
    await alice.crons.delete(two)
    assert await found() == [three, one]
    assert await status_of(alice.crons.delete(two)) == 404


async def test_other_owners_cron_is_404(
    alice: LangGraphClient, bob: LangGraphClient, parts_url: str, thread: UUID
) -> None:
    hers = (await made(alice.crons.create("echo", schedule="@daily")))["cron_id"]
    assistant = (await alice.assistants.create("echo"))["assistant_id"]

    for cron_id in (hers, str(uuid4())):
        assert await status_of(bob.crons.update(cron_id, enabled=False)) == 404
        assert await status_of(bob.crons.delete(cron_id)) == 404
        async with client_of(parts_url, BOB) as http:
            assert (await http.get(f"/runs/crons/{cron_id}")).status_code == 404
    assert await status_of(bob.crons.create(assistant, schedule="@daily")) == 404
    assert await status_of(bob.crons.create_for_thread(str(thread), "echo", schedule="@daily")) == 404
    assert await bob.crons.search() == []
    assert await bob.crons.count() == 0
    assert await alice.crons.count() == 1


async def test_deletion_of_an_assistant_deletes_its_crons(alice: LangGraphClient) -> None:
    assistant = (await alice.assistants.create("echo"))["assistant_id"]
    await alice.crons.create(assistant, schedule="@daily")

    await alice.assistants.delete(assistant)

    assert await alice.crons.count() == 0


BAD: list[dict[str, Any]] = [
    {"schedule": "61 * * * *"},
    {"schedule": "* * * *"},
    {"schedule": "0 0 9 * * * *"},
    {"schedule": "0 0 * * * 60"},
    {"schedule": "0 0 31 2 *"},
    {"schedule": "bogus"},
    {"schedule": ""},
    {"schedule": "\0"},
    {"timezone": "Mars/Olympus"},
    {"timezone": "../etc/passwd"},
    {"timezone": "America"},
    {"timezone": ""},
    {"end_time": "tomorrow"},
    {"end_time": "9999-12-31T23:59:59-14:00"},  # of the year 10000 in UTC: the row could not be read any more
    {"end_time": "0001-01-01T00:00:00+14:00"},
    {"webhook": "ftp://example.com"},
    {"stream_mode": "everything"},
    {"durability": "never"},
    {"multitask_strategy": "all"},
    {"on_run_completed": "burn"},
    {"context": {"a": 1}, "config": {"configurable": {"b": 1}}},
    {"config": {"configurable": {"thread_id": "x"}}},
    {"input": {"a": "\0"}},
    {"input": ["\ud800"]},
]


async def test_invalid_requests_are_rejected(alice_http: httpx2.AsyncClient) -> None:
    good = {"assistant_id": "echo", "schedule": "@daily"}
    for bad in BAD:
        headers = {"Content-Type": "application/json"}
        answer = await alice_http.post("/runs/crons", content=json.dumps(good | bad), headers=headers)
        assert answer.status_code == 422, bad
    assert (await alice_http.post("/runs/crons", json=good | {"assistant_id": "nope"})).status_code == 422
    assert (await alice_http.post("/runs/crons", json=good | {"assistant_id": str(uuid4())})).status_code == 404
    nothing = dict.fromkeys(("input", "timezone", "end_time", "enabled", "webhook", "on_run_completed", "stream_mode"))
    assert (await alice_http.post("/runs/crons", json=good | nothing)).status_code == 200


@pytest.mark.parametrize("schedule", ["0 0 * 2 1#5", "0 0 29 2 */7"])
async def test_rare_schedule_is_accepted(alice: LangGraphClient, schedule: str) -> None:
    cron = await made(alice.crons.create("echo", schedule=schedule))
    assert moment(cron["next_run_date"]).month == 2


NEW_YORK = "America/New_York"  # 2026: clocks go forward on 8 March at 2:00, back on 1 November at 2:00


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "due"),
    [
        ("0 9 * * *", None, "2026-03-07T09:00:00", ["2026-03-08T09:00:00", "2026-03-09T09:00:00"]),
        ("0 9 * * 1-5", NEW_YORK, "2026-03-06T14:00:00", ["2026-03-09T13:00:00", "2026-03-10T13:00:00"]),
        # 2:30 is left out on the 8th: it is due when the clocks have been put forward.
        ("30 2 * * *", NEW_YORK, "2026-03-07T08:00:00", ["2026-03-08T07:00:00", "2026-03-09T06:30:00"]),
        # 1:30 comes twice on the 1st: it is due once, and looking in between changes nothing.
        ("30 1 * * *", NEW_YORK, "2026-10-31T06:00:00", ["2026-11-01T05:30:00", "2026-11-02T06:30:00"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01T06:10:00", ["2026-11-02T06:30:00"]),
        # An hourly schedule counts elapsed time.
        ("30 * * * *", NEW_YORK, "2026-11-01T05:00:00", ["2026-11-01T05:30:00", "2026-11-01T06:30:00"]),
        ("@weekly", None, "2026-03-04T00:00:00", ["2026-03-08T00:00:00"]),
        ("0 0 L * ?", None, "2026-02-01T00:00:00", ["2026-02-28T00:00:00", "2026-03-31T00:00:00"]),
        ("0 0 * * 5#2", None, "2026-11-24T00:00:00", ["2026-12-11T00:00:00"]),
        ("0 0 29 2 *", None, "2026-01-01T00:00:00", ["2028-02-29T00:00:00"]),
        ("0 9 * * * 30", None, "2026-11-24T06:00:00", ["2026-11-24T09:00:30", "2026-11-25T09:00:30"]),
        ("* * * * * */20", None, "2026-11-24T06:00:00", ["2026-11-24T06:00:20", "2026-11-24T06:00:40"]),
        ("0 9 * * mon", None, "2026-11-24T06:00:00", ["2026-11-30T09:00:00"]),
        ("0 9 * * 7", None, "2026-11-24T06:00:00", ["2026-11-29T09:00:00"]),
    ],
)
def test_schedule_has_its_due_times(schedule: str, zone: str | None, after: str, due: list[str]) -> None:
    when = datetime.fromisoformat(after).replace(tzinfo=UTC)
    for expected in due:
        found = next_time(schedule, zone, when)
        assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)
        when = found


class Runs:
    """Keeps what `fire_due` wants to be made, and stores it as a worker would: in the same transaction."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self.made: list[DueRun] = []
        self.create: CreateRun = self.store
        self.rejected: set[UUID] = set()  # owners who have exceeded the rate limit
        with psycopg.connect(database_url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS made (cron_id uuid)")

    async def store(self, connection: AsyncConnection[Any], run: DueRun) -> None:
        await connection.execute("INSERT INTO made VALUES (%s)", (run.cron_id,))
        await asyncio.sleep(0.01)
        self.made.append(run)

    async def fire(self) -> float | None:
        async with await AsyncConnection.connect(
            self._database_url, autocommit=True, row_factory=dict_row
        ) as connection:
            return await fire_due(connection, self.create, self.rules)

    @property
    def rules(self) -> FiringRules:
        return FiringRules(60, self.count)

    async def count(self, owner_id: UUID) -> RateLimitResult:
        return RateLimitResult(RateLimit("user", 1), owner_id not in self.rejected, remaining=0, reset=40)

    def stored(self) -> list[UUID]:
        with psycopg.connect(self._database_url) as connection:
            return [row[0] for row in connection.execute("SELECT cron_id FROM made").fetchall()]

    def are_due(self, since: str = "1 second") -> None:
        self.run("UPDATE crons SET next_run_date = now() - %s::interval", since)

    def run(self, statement: LiteralString, *parameters: object) -> None:
        with psycopg.connect(self._database_url) as connection:
            connection.execute(statement, parameters)


@pytest.fixture
def runs(database_url: str) -> Runs:
    """Alice and Bob have accounts."""
    with psycopg.connect(database_url) as connection:
        for owner, name in ((ALICE, "alice"), (BOB, "bob")):
            connection.execute(
                "INSERT INTO users VALUES (%s, %s, %s, '$', 1, now(), now())", (owner, f"{name}@example.com", name)
            )
    return Runs(database_url)


async def test_due_cron_creates_a_run(alice: LangGraphClient, runs: Runs) -> None:
    assert await runs.fire() is None
    cron = await made(
        alice.crons.create(
            "echo",
            schedule="0 * * * *",
            metadata={"a": 1},
            input={"n": 1},
            config={"tags": ["t"], "configurable": {"x": 1}},
            multitask_strategy="reject",
            on_run_completed="keep",
        )
    )
    await alice.crons.update(cron["cron_id"], metadata={"b": 2})
    before = time()
    look = await runs.fire()
    after = time()
    assert runs.made == []
    assert look is not None
    assert before - 1 < moment(cron["next_run_date"]).timestamp() - look < after + 1

    runs.are_due("3 hours")  # several times since
    before = time()
    look = await runs.fire()
    after = time()
    await runs.fire()

    (run,) = runs.made
    assert (str(run.cron_id), run.owner_id, str(run.assistant_id)) == (cron["cron_id"], ALICE, ECHO)
    assert (run.thread_id, run.on_completion) == (None, "keep")
    assert run.metadata == {"a": 1, "b": 2, "cron_id": cron["cron_id"]}
    assert run.fields == {
        "input": {"n": 1},
        "config": {"tags": ["t"], "configurable": {"x": 1}},
        "multitask_strategy": "reject",
    }
    again = (await alice.crons.search())[0]["next_run_date"]
    assert again is not None
    assert moment(str(again)) > datetime.now(UTC)
    assert look is not None
    assert before - 1 < moment(str(again)).timestamp() - look < after + 1


async def test_run_with_a_context_has_no_configurable(alice: LangGraphClient, runs: Runs, thread: UUID) -> None:
    await alice.crons.create_for_thread(str(thread), "coloured", schedule="@daily", context={"colour": "red"})
    runs.are_due()

    await runs.fire()

    (run,) = runs.made
    assert (run.thread_id, run.on_completion) == (thread, None)
    assert run.fields == {"context": {"colour": "red"}, "config": {"configurable": {}}}


async def test_concurrent_workers_create_each_run_once(alice: LangGraphClient, runs: Runs) -> None:
    for _ in range(30):
        await alice.crons.create("echo", schedule="0 0 1 1 *")
    for _ in range(3):
        runs.are_due()
        await asyncio.gather(*(runs.fire() for _ in range(6)))

    stored = runs.stored()
    assert len(stored) == 90
    assert sorted(stored.count(cron_id) for cron_id in set(stored)) == [3] * 30


async def test_crons_of_a_dead_worker_are_taken_over(alice: LangGraphClient, runs: Runs, database_url: str) -> None:
    await alice.crons.create("echo", schedule="@daily")
    runs.are_due()
    holding = asyncio.Event()

    async def hold(connection: AsyncConnection[Any], run: DueRun) -> None:
        await runs.store(connection, run)
        holding.set()
        await asyncio.Event().wait()

    connection = await AsyncConnection.connect(database_url, autocommit=True, row_factory=dict_row)
    dying = asyncio.create_task(fire_due(connection, hold, runs.rules))
    await holding.wait()
    look = await runs.fire()
    assert look == 1  # to see whether the other has done it
    assert runs.stored() == []

    dying.cancel()
    await asyncio.wait([dying])
    await connection.close()
    await runs.fire()
    assert len(runs.stored()) == 1


async def test_failing_cron_does_not_block_others(alice: LangGraphClient, runs: Runs) -> None:
    bad = UUID((await made(alice.crons.create("echo", schedule="@daily")))["cron_id"])
    good = UUID((await made(alice.crons.create("echo", schedule="@daily")))["cron_id"])

    async def fails_for_one(connection: AsyncConnection[Any], run: DueRun) -> None:
        await runs.store(connection, run)
        if run.cron_id == bad:
            raise NotFound("The thread is gone.")

    runs.create = fails_for_one
    runs.are_due()
    await runs.fire()

    assert runs.stored() == [good]
    look = await runs.fire()  # it is tried again when it is due again, not at once
    assert look is not None
    assert look > 2


async def test_disabled_and_ended_crons_do_not_fire(alice: LangGraphClient, runs: Runs) -> None:
    disabled = (await made(alice.crons.create("echo", schedule="@daily", enabled=False)))["cron_id"]
    runs.are_due()
    assert await runs.fire() is None
    over = (await made(alice.crons.create("echo", schedule="@daily")))["cron_id"]
    runs.are_due()
    runs.run("UPDATE crons SET end_time = now() - interval '1 minute' WHERE cron_id = %s", over)
    assert await runs.fire() is None
    assert runs.made == []

    await alice.crons.update(disabled, enabled=True)  # missed due times are not made up for
    await runs.fire()
    assert runs.made == []


async def test_cron_does_not_fire_after_its_end(alice: LangGraphClient, runs: Runs) -> None:
    end = datetime.now(UTC) + timedelta(minutes=1)
    await alice.crons.create("echo", schedule="0 0 1 1 *", end_time=end)
    runs.are_due()

    assert await runs.fire() is None
    assert len(runs.made) == 1


async def test_deleted_and_deactivated_accounts_fire_no_crons(
    alice: LangGraphClient, bob: LangGraphClient, parts_url: str, runs: Runs
) -> None:
    for client in (alice, bob):
        await client.crons.create("echo", schedule="@daily")
    async with sdk_of(parts_url, LOCAL_OWNER_ID) as local, sdk_of(parts_url, uuid4()) as deleted:
        await local.crons.create("echo", schedule="@daily")
        await deleted.crons.create("echo", schedule="@daily")
    runs.run("INSERT INTO accounts VALUES (%s, 'user', false, 0), (%s, 'user', true, 0)", BOB, ALICE)
    runs.are_due()

    await runs.fire()

    assert {run.owner_id for run in runs.made} == {ALICE, LOCAL_OWNER_ID}


async def test_many_due_crons_fire_in_several_transactions(runs: Runs, alice: LangGraphClient) -> None:
    await alice.crons.create("echo", schedule="@daily")
    runs.run(
        "INSERT INTO crons SELECT gen_random_uuid(), owner_id, assistant_id, thread_id, schedule, timezone, payload,"
        " metadata, on_run_completed, enabled, end_time, next_run_date, created_at, updated_at"
        " FROM crons, generate_series(1, 110)"
    )
    runs.are_due()

    async def nothing(_connection: AsyncConnection[Any], run: DueRun) -> None:
        runs.made.append(run)

    runs.create = nothing
    look = await runs.fire()
    assert len(runs.made) == 100
    assert look is not None
    assert look <= 0
    await runs.fire()
    assert len(runs.made) == 111


GRAPH = """
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    count: int
    colour: str


class Context(TypedDict, total=False):
    colour: str


def count(state: State, runtime: Runtime[Context]) -> State:
    return {"count": state.get("count", 0) + 1, "colour": (runtime.context or {}).get("colour", "none")}


counter = StateGraph(State, context_schema=Context).add_node("count", count).add_edge(START, "count").compile()
"""


@pytest.fixture
def served(make_settings4: Callable[..., Settings], tmp_path: Path) -> Iterator[str]:
    """The API and two workers, with a graph that counts."""
    (tmp_path / "counter.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text('{"graphs": {"counter": "./counter.py:counter"}}')
    settings = make_settings4(auth_required=False, langgraph_config=tmp_path / "langgraph.json")
    with running(create_app(settings)) as url, running(create_worker(settings)), running(create_worker(settings)):
        yield url


@pytest.fixture
async def client(served: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=served, api_key=None) as client:
        yield client


async def test_worker_fires_crons_and_executes_their_runs(client: LangGraphClient, database_url: str) -> None:
    due = "UPDATE crons SET next_run_date = now() WHERE cron_id = %s"
    with psycopg.connect(database_url, autocommit=True) as connection:
        thread = (await client.threads.create())["thread_id"]
        on_thread = await made(
            client.crons.create_for_thread(
                thread,
                "counter",
                schedule="0 0 1 1 *",
                input={"count": 4},
                context={"colour": "red"},
                metadata={"a": 1},
            )
        )
        kept = await made(client.crons.create("counter", schedule="0 0 1 1 *", input={}, on_run_completed="keep"))
        thrown = await made(client.crons.create("counter", schedule="0 0 1 1 *", input={}))
        for cron in (on_thread, kept, thrown):
            connection.execute(due, [cron["cron_id"]])
        await client.crons.update(thrown["cron_id"], metadata={"b": 1})  # which tells the workers to look

        def finished() -> bool:
            cursor = connection.execute(
                "SELECT count(*) FILTER (WHERE next_run_date > now()) = 3,"
                " (SELECT count(*) FROM runs WHERE status = 'success') = 2,"
                " (SELECT count(*) FROM threads) = 2 FROM crons"
            )
            return cursor.fetchone() == (True, True, True)

        await until(finished)
        (run,) = await client.runs.list(thread)
        metadata = run["metadata"] or {}
        assert (metadata["a"], metadata["cron_id"]) == (1, on_thread["cron_id"])
        assert (await client.threads.get(thread))["values"] == {"count": 5, "colour": "red"}
        values: list[Any] = [one["values"] for one in await client.threads.search()]
        assert values == [{"count": 1, "colour": "none"}, {"count": 5, "colour": "red"}]


async def test_schedule_is_not_due_more_often_than_allowed(alice: LangGraphClient) -> None:
    cron_id = (await made(alice.crons.create("echo", schedule="* * * * *")))["cron_id"]
    for schedule in ("* * * * * *", "* * * * * */30", "0 0 1 1 * 0,1", "0 0 * * * 0,59"):
        assert await status_of(alice.crons.create("echo", schedule=schedule)) == 422
        assert await status_of(alice.crons.update(cron_id, schedule=schedule)) == 422


async def test_schedule_of_an_earlier_version_fires_no_more_often_than_allowed(
    alice: LangGraphClient, runs: Runs, database_url: str
) -> None:
    await alice.crons.create("echo", schedule="* * * * *")
    runs.run("UPDATE crons SET schedule = '* * * * * *', next_run_date = date_trunc('second', now())")

    await runs.fire()

    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT next_run_date > now() + interval '57 seconds' FROM crons").fetchone()
    assert (row, len(runs.stored())) == ((True,), 1)


async def test_cron_of_a_user_beyond_the_rate_limit_fires_later(
    alice: LangGraphClient, bob: LangGraphClient, runs: Runs, database_url: str
) -> None:
    late = UUID((await made(alice.crons.create("echo", schedule="@daily")))["cron_id"])
    on_time = UUID((await made(bob.crons.create("echo", schedule="@daily")))["cron_id"])
    runs.are_due()
    runs.rejected = {ALICE}

    await runs.fire()

    assert runs.stored() == [on_time]
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT next_run_date - now() < '41 seconds' FROM crons WHERE cron_id = %s", [late])
        assert row.fetchone() == (True,)


async def test_crons_of_users_take_turns(alice: LangGraphClient, bob: LangGraphClient, runs: Runs) -> None:
    for _ in range(3):
        await alice.crons.create("echo", schedule="@daily")
    runs.are_due("1 hour")
    quiet = UUID((await made(bob.crons.create("echo", schedule="@daily")))["cron_id"])
    runs.run("UPDATE crons SET next_run_date = now() WHERE cron_id = %s", quiet)

    await runs.fire()

    assert [run.cron_id for run in runs.made].index(quiet) == 1
