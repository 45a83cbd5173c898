"""A thread that is followed, on real processes: every run of it, from any client and any worker that has it."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart
from redis import Redis
from sqlalchemy.engine import make_url

from project4_agent_api.threads.state import STATE_CHANGED
from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    with agent_service(database_url, redis_url, model, GRAPHS, lease_seconds="2") as running:
        yield running


@pytest.fixture
def headers(service: AgentService) -> dict[str, str]:
    return service.sign_up()


class Follower:
    """Reads a thread's stream from the moment it is made."""

    def __init__(self, client: LangGraphClient, thread_id: str, **options: Any) -> None:
        self.parts: list[StreamPart] = []
        self._task = asyncio.create_task(self._read(client, thread_id, options))

    async def _read(self, client: LangGraphClient, thread_id: str, options: dict[str, Any]) -> None:
        stream = await client.threads.join_stream(thread_id, **options)
        async with aclosing(stream) as parts:  # type: ignore[type-var]  # it is a generator
            async for part in parts:
                self.parts.append(part)

    @property
    def done(self) -> list[str]:
        """Return the finished runs."""
        return [part.data["run_id"] for part in self.parts if part.data.get("status") == "run_done"]

    def data(self, event: str) -> list[Any]:
        return [part.data for part in self.parts if part.event == event]

    async def reads(self, runs: int) -> list[StreamPart]:
        """Read until that many runs have ended, and disconnect."""
        await until(lambda: len(self.done) >= runs or self._task.done())
        self._task.cancel()
        await asyncio.wait([self._task])
        return self.parts


def is_followed(service: AgentService, thread_id: str) -> bool:
    """Return whether a thread's channel has a subscriber."""
    channel = f"{make_url(service.environment['DATABASE_URL']).database}:thread:{thread_id}"
    with Redis.from_url(service.environment["REDIS_URL"]) as redis:
        return bool(redis.pubsub_numsub(channel)[0][1])


async def test_stream_has_all_runs_and_resumes_from_any_event(
    service: AgentService, client: LangGraphClient, headers: dict[str, str]
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    async with get_client(url=service.start_api(), api_key=None, headers=headers) as elsewhere:
        follower = Follower(elsewhere, thread_id)
        await until(lambda: is_followed(service, thread_id))
        first = await client.runs.create(thread_id, "talk", input=said("one"), stream_mode=["updates", "custom"])
        await client.runs.join(thread_id, first["run_id"])
        second = await client.runs.create(thread_id, "ask", input=said("Tea?"))
        seen = await follower.reads(2)

        assert [part.event for part in seen[:3]] == ["metadata", "updates", "metadata"]
        assert [part.event for part in seen[3:]] == ["metadata", "values", "values", "metadata"]
        assert follower.done == [first["run_id"], second["run_id"]]
        assert [part.data["attempt"] for part in seen if "attempt" in part.data] == [1, 1]
        ids = [part.id for part in seen]
        assert len(set(ids)) == len(ids)

        for everything in ("-", "0"):
            assert await Follower(elsewhere, thread_id, last_event_id=everything).reads(2) == seen
        for place, runs in ((1, 2), (2, 1), (3, 1)):  # within a run, between two, and within the last
            after = await Follower(elsewhere, thread_id, last_event_id=ids[place]).reads(runs)
            assert after == seen[place + 1 :]

        await client.runs.delete(thread_id, second["run_id"])
        late = Follower(elsewhere, thread_id, last_event_id=ids[-1])
        third = await client.runs.create(thread_id, "talk", input=said("three"))
        assert (await late.reads(1))[-1].data == {"status": "run_done", "run_id": third["run_id"]}
        assert late.done == [third["run_id"]]


async def test_late_client_reads_the_current_run_from_its_start(
    service: AgentService, client: LangGraphClient, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "talk", input=said("one"))  # of this nothing is read
    work: dict[str, Any] = {"steps": 4, "seconds": 2, "log": str(log)}
    run = await client.runs.create(thread_id, "steps", input=work, stream_mode="custom", durability="sync")
    await until(lambda: log.exists() and log.read_text().count("\n") >= 2)
    follower = Follower(client, thread_id)
    short = Follower(client, thread_id, stream_mode="lifecycle")
    await until(lambda: len(follower.data("custom")) >= 2)

    service.workers[0].send_signal(signal.SIGKILL)
    service.start_worker()

    await follower.reads(1)
    assert [data.get("attempt", data.get("status")) for data in follower.data("metadata")] == [1, 2, "run_done"]
    assert {data["step"] for data in follower.data("custom")} == {0, 1, 2, 3}
    assert follower.done == [run["run_id"]]
    assert [part.event for part in await short.reads(1)] == ["metadata"] * 3


async def test_late_client_reads_the_current_run_despite_a_later_stop(client: LangGraphClient, tmp_path: Path) -> None:
    log = tmp_path / "log"
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "talk", input=said("one"))  # of this nothing is read
    work: dict[str, Any] = {"steps": 1, "seconds": 60, "log": str(log)}
    run = await client.runs.create(thread_id, "steps", input=work, stream_mode="custom")
    await until(log.exists)
    later = await client.runs.create(thread_id, "talk", input=said("two"))
    await client.runs.cancel(thread_id, later["run_id"])

    follower = Follower(client, thread_id)
    await until(lambda: bool(follower.data("custom")))
    await client.runs.cancel(thread_id, run["run_id"], wait=True)

    await follower.reads(2)
    assert follower.done == [run["run_id"], later["run_id"]]


async def test_stream_shows_interrupted_and_rolled_back_runs(client: LangGraphClient, tmp_path: Path) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    follower = Follower(client, thread_id, stream_mode=["lifecycle", "state_update"])
    runs = []
    for action in ("interrupt", "rollback"):
        log = tmp_path / action
        run = await client.runs.create(thread_id, "steps", input={"steps": 2, "seconds": 60, "log": str(log)})
        await until(log.exists)
        await client.runs.cancel(thread_id, run["run_id"], wait=True, action=action)
        runs.append(run["run_id"])
    await until(lambda: len(follower.done) == 2)
    log = tmp_path / "last"
    run = await client.runs.create(thread_id, "steps", input={"steps": 1, "seconds": 60, "log": str(log)})
    waiting = [await client.runs.create(thread_id, "steps", input={"steps": 1}) for _ in range(2)]
    await until(log.exists)
    await client.runs.cancel_many(thread_id=thread_id, run_ids=[one["run_id"] for one in waiting])
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    runs += [one["run_id"] for one in (run, *waiting)]
    await until(lambda: len(follower.done) == 5)
    await client.threads.update_state(thread_id, {"done": [7]})
    await until(lambda: bool(follower.data("state_update")))
    await follower.reads(5)

    assert follower.done == runs
    (told,) = follower.data("state_update")
    assert told["thread_id"] == thread_id
    assert told["state"]["values"]["done"] == [7]


async def test_invalid_requests_are_rejected(
    service: AgentService, client: LangGraphClient, headers: dict[str, str]
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    async with httpx2.AsyncClient(base_url=service.url, trust_env=False, timeout=120) as http:

        async def status(headers: dict[str, str], path: str = thread_id, **params: Any) -> int:
            return (await http.get(f"/threads/{path}/stream", headers=headers, params=params)).status_code

        assert await status(service.sign_up()) == 404
        assert await status(headers, "01900000-0000-7000-8000-000000000000") == 404
        assert await status(headers, "none") == 422
        assert await status(headers, stream_mode="thoughts") == 422
        assert await status(headers, stream_mode='["run_modes", "thoughts"]') == 422
        assert await status({}) == 401


@pytest.mark.parametrize(
    "place", ["-", "-1", "0", "", "1-2", "yesterday", "1:", "1:2", ":end", "99999999999999999:end"]
)
async def test_stream_starts_from_the_beginning_after_an_event_of_another_stream(
    client: LangGraphClient, place: str
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "talk", input=said("one"))
    await client.runs.join(thread_id, run["run_id"])
    given = {"Last-Event-ID": place}  # the client leaves out an empty last_event_id

    stream = await client.threads.join_stream(thread_id, headers=given)
    async with aclosing(stream) as events:  # type: ignore[type-var]  # it is a generator
        event = await anext(events)
    assert (event.event, event.data["run_id"]) == ("metadata", run["run_id"])

    if place != "1-2":  # a place in every run
        of_the_run = client.runs.join_stream(thread_id, run["run_id"], headers=given)
        assert (await anext(of_the_run)).event == "metadata"


@contextmanager
def away(databases: Databases, database_url: str) -> Iterator[None]:
    """Let nobody into a database while the block runs."""
    name = make_url(database_url).database
    with psycopg.connect(databases.server_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


async def test_events_during_a_postgresql_outage_are_read_afterwards(
    service: AgentService, client: LangGraphClient, databases: Databases, database_url: str
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    follower = Follower(client, thread_id, stream_mode=["run_modes", "state_update"])
    await until(lambda: is_followed(service, thread_id))

    with away(databases, database_url), Redis.from_url(service.environment["REDIS_URL"]) as redis:
        channel = f"{make_url(database_url).database}:thread:{thread_id}"
        for news in (str(uuid4()), STATE_CHANGED):  # a run has started, and the state was changed
            assert redis.publish(channel, news) == 1
        await asyncio.sleep(2)
        assert follower.parts == []

    await until(lambda: [part.event for part in follower.parts] == ["state_update"])
    run = await client.runs.create(thread_id, "talk", input=said("Hello"))
    await follower.reads(1)
    assert follower.done == [run["run_id"]]
