"""States that do not fit their graph, or are no objects: the effect on a run, its client and its thread."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from redis import Redis
from sqlalchemy.engine import make_url

from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel
from tests.support.sse import events_of

pytestmark = pytest.mark.slow

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"
RAISED = {"model": "ValidationError", "data": "TypeError"}  # by each graph, of what does not fit its schema
UNFIT = {"n": "abc"}
UNREADABLE = (
    409,
    "The stored state does not fit its graph. Delete the run that stored it, or continue from an earlier checkpoint.",
)
NOT_TAKEN = (422, "The graph does not accept these values.")


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service, with the graphs of this folder."""
    with (
        databases.migrated("project4_agent_api") as url,
        agent_service(url, _redis_server, _model_server, GRAPHS) as running,
    ):
        yield running


@pytest.fixture
async def thread(http: httpx2.AsyncClient) -> str:
    """The path of a thread."""
    made = await http.post("/threads", json={})
    return f"/threads/{made.json()['thread_id']}"


async def wait(http: httpx2.AsyncClient, thread: str, graph: str, input_: object, **more: str) -> Any:  # noqa: ANN401  JSON
    """Return the result that a run's client receives."""
    answer = await http.post(f"{thread}/runs/wait", json={"assistant_id": graph, "input": input_, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(answer: httpx2.Response) -> tuple[int, Any]:
    """Return the status of a refused request, and the reason that is given."""
    return answer.status_code, answer.json().get("detail")


@pytest.mark.parametrize("graph", RAISED)
class TestUnserializableState:
    async def test_run_fails_with_the_same_reason_everywhere(
        self, http: httpx2.AsyncClient, thread: str, graph: str
    ) -> None:
        body = {"assistant_id": graph, "input": UNFIT}
        async with http.stream("POST", f"{thread}/runs/stream", json=body) as answer:
            streamed = [data async for name, data in events_of(answer) if name == "error"]
        (run,) = (await http.get(f"{thread}/runs")).json()
        shown = (await http.get(thread)).json()

        assert [reason["error"] for reason in streamed] == [RAISED[graph]]
        assert run["status"] == shown["status"] == "error"
        assert shown["error"] == streamed[0]
        told = {"__error__": streamed[0]}
        assert (await http.get(f"{thread}/runs/{run['run_id']}/join")).json() == told
        assert await wait(http, thread, graph, UNFIT) == told

    async def test_thread_shows_the_error_until_the_run_is_deleted(
        self, http: httpx2.AsyncClient, thread: str, graph: str
    ) -> None:
        assert (await wait(http, thread, graph, {"n": 1}))["n"] == 2
        good = (await http.get(f"{thread}/state")).json()
        await wait(http, thread, graph, UNFIT)

        for of_now in ("state", "state?subgraphs=true", "history"):
            assert said(await http.get(f"{thread}/{of_now}")) == UNREADABLE
        assert (await http.get(f"{thread}/state/{good['checkpoint_id']}")).json()["values"]["n"] == 2
        before = {"before": good["checkpoint_id"]}
        earlier = (await http.get(f"{thread}/history", params=before)).json()
        assert [state["values"].get("n") for state in earlier] == [1, None]
        assert (await http.get(thread)).json()["values"] == good["values"]

        failed = (await http.get(f"{thread}/runs")).json()[0]
        assert (await http.delete(f"{thread}/runs/{failed['run_id']}")).status_code == 204
        assert (await http.get(f"{thread}/state")).json() == good
        assert (await wait(http, thread, graph, {"n": 5}))["n"] == 6

    async def test_concurrent_run_is_rolled_back_or_deleted(
        self, http: httpx2.AsyncClient, thread: str, graph: str
    ) -> None:
        await wait(http, thread, graph, {"n": 1})
        good = (await http.get(f"{thread}/state")).json()["checkpoint_id"]
        await wait(http, thread, graph, UNFIT)

        body = {"assistant_id": graph, "input": {"n": 1, "seconds": 60}, "checkpoint_id": good}
        async with http.stream("POST", f"{thread}/runs/stream", json=body) as answer:
            _, begun = await anext(events_of(answer))
            run = f"{thread}/runs/{begun['run_id']}"
            await http.post(f"{run}/cancel", params={"action": "rollback", "wait": True})
        assert (await http.get(run)).status_code == 404
        assert said(await http.get(f"{thread}/state")) == UNREADABLE
        assert (await http.get(thread)).json()["values"]["n"] == 2

        assert (await wait(http, thread, graph, {"n": 8}, checkpoint_id=good))["n"] == 9
        newest = (await http.get(f"{thread}/runs")).json()[0]
        assert (await http.delete(f"{thread}/runs/{newest['run_id']}")).status_code == 204
        assert said(await http.get(f"{thread}/state")) == UNREADABLE
        assert (await http.get(thread)).json()["values"] is None

    async def test_rejected_update_stores_nothing(self, http: httpx2.AsyncClient, thread: str, graph: str) -> None:
        await wait(http, thread, graph, {"n": 1})
        before = (await http.get(f"{thread}/history")).json()
        assert before

        change = {"values": UNFIT, "as_node": "__start__"}
        assert said(await http.post(f"{thread}/state", json=change)) == NOT_TAKEN

        assert (await http.get(f"{thread}/history")).json() == before
        assert (await http.get(f"{thread}/state")).json()["values"]["n"] == 2
        taken = await http.post(f"{thread}/state", json={"values": {"n": 7}, "as_node": "__start__"})
        assert taken.status_code == 200
        assert (await http.get(thread)).json()["values"]["n"] == 7

    async def test_unreadable_state_cannot_start_a_thread(self, http: httpx2.AsyncClient, graph: str) -> None:
        thread_id = str(uuid4())
        step = {"updates": [{"values": UNFIT, "as_node": "__start__"}]}
        body = {"thread_id": thread_id, "metadata": {"graph_id": graph}, "supersteps": [step]}
        assert said(await http.post("/threads", json=body)) == NOT_TAKEN
        assert (await http.get(f"/threads/{thread_id}")).status_code == 404


async def test_database_fault_is_not_a_client_error(
    service: AgentService, http: httpx2.AsyncClient, thread: str
) -> None:
    await wait(http, thread, "model", {"n": 1})
    with psycopg.connect(service.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("ALTER TABLE checkpoints RENAME TO elsewhere")
        try:
            answers = [
                await http.get(f"{thread}/state"),
                await http.get(f"{thread}/history"),
                await http.post(f"{thread}/state", json={"values": {"n": 2}}),
            ]
        finally:
            connection.execute("ALTER TABLE elsewhere RENAME TO checkpoints")
    assert [answer.status_code for answer in answers] == [500] * 3
    assert (await http.get(f"{thread}/state")).status_code == 200


@pytest.mark.parametrize("value", ["a word", "", 7, 0, ["a", 1], [], True, {"a": 1}, {}], ids=repr)
async def test_result_of_any_json_type_is_streamed(http: httpx2.AsyncClient, thread: str, value: object) -> None:
    body = {"assistant_id": "plain", "input": value, "stream_mode": ["values", "updates"]}
    async with http.stream("POST", f"{thread}/runs/stream", json=body) as answer:
        events = [event async for event in events_of(answer)]
    assert [data for name, data in events if name in ("values", "error")] == [value]
    (run,) = (await http.get(f"{thread}/runs")).json()
    assert (await http.get(f"{thread}/runs/{run['run_id']}/join")).json() == value
    assert await wait(http, thread, "plain", value) == value

    shown = (await http.get(thread)).json()
    assert shown["values"] == value
    search = {"ids": [shown["thread_id"]], "extract": {"first": "values[0]", "a": "values.a"}}
    (found,) = (await http.post("/threads/search", json=search)).json()
    first = value[0] if isinstance(value, list) and value else None
    assert found["extracted"] == {"first": first, "a": 1 if value == {"a": 1} else None}
    assert (await http.post("/threads/search", json={"ids": search["ids"], "values": {"b": 1}})).json() == []
    assert (await http.get(f"{thread}/state")).json()["values"] == value
    assert (await http.get(f"{thread}/state", params={"select": "values.a"})).status_code == 200
    assert (await http.get(f"{thread}/history")).json()[0]["values"] == value
    copied = (await http.post(f"{thread}/copy")).json()
    assert copied["values"] == value
    assert (await http.get(f"/threads/{copied['thread_id']}/state")).json()["values"] == value


async def test_interrupt_is_shown_to_every_client(http: httpx2.AsyncClient, thread: str) -> None:
    assert await wait(http, thread, "plain", "a word") == "a word"
    told = await wait(http, thread, "plain", "ask")
    assert told["__interrupt__"][0]["value"] == "Which?"
    newest = (await http.get(f"{thread}/runs")).json()[0]
    assert (await http.get(f"{thread}/runs/{newest['run_id']}/join")).json() == told
    assert (await http.get(thread)).json()["values"] == "a word"


async def test_null_is_a_valid_result(http: httpx2.AsyncClient, thread: str) -> None:
    assert await wait(http, thread, "plain", "nothing") is None
    (run,) = (await http.get(f"{thread}/runs")).json()
    assert (await http.get(f"{thread}/runs/{run['run_id']}/join")).json() is None


async def test_result_outlives_its_events(service: AgentService, http: httpx2.AsyncClient, thread: str) -> None:
    params = {"assistant_id": "plain", "input": "a word"}
    begun = await http.post(f"{thread}/commands", json={"id": 1, "method": "run.start", "params": params})
    run_id = begun.json()["result"]["run_id"]
    await http.get(f"{thread}/runs/{run_id}/join")
    name = make_url(service.environment["DATABASE_URL"]).database
    with Redis.from_url(service.environment["REDIS_URL"]) as redis:
        assert redis.delete(f"{name}:run:{run_id}") == 1
    async with http.stream("POST", f"{thread}/stream/events", json={"channels": ["lifecycle"]}) as answer:
        _, frame = await anext(events_of(answer))
    assert frame["params"]["data"]["event"] == "completed"


@pytest.mark.parametrize("value", [[], {}, 7, True, None, ""], ids=repr)
async def test_malformed_graph_id_in_metadata_is_404(http: httpx2.AsyncClient, thread: str, value: object) -> None:
    told = await wait(http, thread, "plain", "ask")
    (run,) = (await http.get(f"{thread}/runs")).json()
    metadata = {"graph_id": value, "assistant_id": value}
    assert (await http.patch(thread, json={"metadata": metadata})).status_code == 200

    answers = [
        await http.get(f"{thread}/state"),
        await http.get(f"{thread}/history"),
        await http.post(f"{thread}/state", json={"values": {}}),
    ]
    assert [said(answer) for answer in answers] == [(404, "There is no graph named .")] * 3
    params = {"interrupt_id": told["__interrupt__"][0]["id"], "response": "this"}
    answer = await http.post(f"{thread}/commands", json={"id": 1, "method": "input.respond", "params": params})
    assert answer.json()["error"] in ("invalid_argument", "no_such_run")
    assert (await http.post(f"{thread}/copy")).status_code == 200
    assert (await http.get(f"{thread}/runs/{run['run_id']}/join")).json() == told
    assert (await wait(http, thread, "plain", "a word")) == "a word"  # a run says which graph it is again
    assert (await http.get(f"{thread}/state")).json()["values"] == "a word"
