"""Feedback on runs: by plain requests, and by LangSmith's own client."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from langgraph_sdk.client import LangGraphClient
from langsmith import Client

from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service, with the graphs of this folder."""
    with (
        databases.migrated("project4_agent_api") as url,
        agent_service(url, _redis_server, _model_server, GRAPHS) as running,
    ):
        yield running


async def a_run(client: LangGraphClient) -> tuple[str, str]:
    """Make a run; return the ids of its thread and of itself."""
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "talk", input=said("one"))
    await client.runs.join(thread_id, run["run_id"])
    return thread_id, run["run_id"]


async def test_feedback_is_stored_changed_searched_and_deleted(
    client: LangGraphClient, http: httpx2.AsyncClient
) -> None:
    thread_id, run_id = await a_run(client)
    _, other_run = await a_run(client)
    body = {"run_id": run_id, "key": "helpful", "score": True, "value": {"tone": "kind"}, "comment": "Well said."}

    made = (await http.post("/feedback", json=body)).json()
    assert made.items() >= (body | {"score": 1.0, "thread_id": thread_id, "trace_id": run_id}).items()
    await http.post("/feedback", json={"run_id": run_id, "key": "short", "score": -0.5})
    await http.post("/feedback", json={"run_id": other_run, "key": "helpful", "score": 0})

    async def keys(**query: Any) -> list[str]:
        return [one["key"] for one in (await http.get("/feedback", params=query)).json()]

    assert await keys(run=run_id) == ["short", "helpful"]
    assert await keys(run=[run_id, other_run], key="helpful") == ["helpful", "helpful"]
    assert await keys(run=[run_id, other_run], min_score=0) == ["helpful", "helpful"]
    assert await keys(thread_id=thread_id, max_score=0) == ["short"]
    assert await keys(thread_id=thread_id, limit=1, offset=1) == ["helpful"]

    address = f"/feedback/{made['id']}"
    changed = (await http.patch(address, json={"score": 0, "comment": None})).json()
    assert changed == made | {"score": 0.0, "comment": None, "modified_at": changed["modified_at"]}
    replaced = await http.post("/feedback", json=body | {"id": made["id"], "score": 0.25})
    assert replaced.json() == made | {"score": 0.25, "modified_at": replaced.json()["modified_at"]}
    assert (await http.get(address)).json()["score"] == 0.25
    assert (await http.delete(address)).status_code == 204
    assert (await http.get(address)).status_code == 404


async def test_feedback_of_another_user_is_unknown(
    service: AgentService, client: LangGraphClient, http: httpx2.AsyncClient
) -> None:
    _, run_id = await a_run(client)
    made = (await http.post("/feedback", json={"run_id": run_id, "key": "k", "score": 1})).json()
    body = {"run_id": run_id, "key": "k", "score": 0}
    async with httpx2.AsyncClient(base_url=service.url, headers=service.sign_up(), trust_env=False) as other:
        assert (await other.get("/feedback", params={"run": run_id})).json() == []
        assert (await other.post("/feedback", json=body)).status_code == 404
        assert (await other.post("/feedback", json=body | {"id": made["id"]})).status_code == 404
        for method in ("GET", "PATCH", "DELETE"):
            answer = await other.request(method, f"/feedback/{made['id']}", json={})
            assert answer.status_code == 404
    assert (await http.get("/feedback", params={"run": run_id})).json() == [made]


async def test_feedback_is_deleted_with_its_thread(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    thread_id, run_id = await a_run(client)
    await http.post("/feedback", json={"run_id": run_id, "key": "k", "score": 1})
    await client.threads.delete(thread_id)
    assert (await http.get("/feedback", params={"run": run_id})).json() == []


@pytest.mark.parametrize(
    "body",
    [
        {"key": "k"},
        {"run_id": str(uuid.UUID(int=1))},
        {"run_id": "none", "key": "k"},
        {"run_id": str(uuid.UUID(int=1)), "key": ""},
        {"run_id": str(uuid.UUID(int=1)), "key": "k", "score": "good"},
        {"run_id": str(uuid.UUID(int=1)), "key": "k", "comment": "a\0b"},
        {"run_id": str(uuid.UUID(int=1)), "key": "k", "value": {"a": "\0"}},
    ],
)
async def test_invalid_feedback_is_rejected(http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert (await http.post("/feedback", json=body)).status_code == 422


async def test_run_has_a_bounded_number_of_ratings(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    _, run_id = await a_run(client)
    for number in range(100):
        assert (await http.post("/feedback", json={"run_id": run_id, "key": str(number)})).status_code == 200
    assert (await http.post("/feedback", json={"run_id": run_id, "key": "more"})).status_code == 409


async def test_list_of_feedback_is_bounded_by_bytes(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    thread_id, run_id = await a_run(client)
    value = ["x" * 900_000]
    for number in range(20):
        made = await http.post("/feedback", json={"run_id": run_id, "key": str(number), "value": value})
        assert made.status_code == 200

    first = await http.get("/feedback", params={"thread_id": thread_id})
    rest = await http.get("/feedback", params={"thread_id": thread_id, "offset": first.headers["X-Pagination-Next"]})

    assert [one["key"] for one in first.json() + rest.json()] == [str(number) for number in reversed(range(20))]
    assert len(first.content) < 17 * 2**20
    assert "X-Pagination-Next" not in rest.headers


async def test_stream_ends_with_the_addresses_of_its_feedback(
    client: LangGraphClient, http: httpx2.AsyncClient
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    stream = client.runs.stream(thread_id, "talk", input=said("one"), feedback_keys=["helpful", "a/b c"])
    parts = [part async for part in stream]
    run_id = parts[0].data["run_id"]

    (urls,) = [part.data for part in parts if part.event == "feedback"]
    assert list(urls) == ["helpful", "a/b c"]
    for url in urls.values():
        assert (await http.post(url, json={"score": 1})).status_code == 200
    found = (await http.get("/feedback", params={"run": run_id})).json()
    assert {one["key"] for one in found} == set(urls)


async def test_langsmiths_client_gives_feedback(
    service: AgentService, client: LangGraphClient, http: httpx2.AsyncClient
) -> None:
    _, run_id = await a_run(client)
    key = (await http.post("/auth/api-keys", json={"name": "langsmith"})).json()["key"]
    langsmith = Client(api_url=service.url, api_key=key, auto_batch_tracing=False)

    made = langsmith.create_feedback(
        run_id, "helpful", score=0.5, value="so so", comment="Hm.", session_id=uuid.uuid4()
    )
    langsmith.update_feedback(made.id, score=1)
    (found,) = langsmith.list_feedback(run_ids=[run_id], feedback_key=["helpful"])

    assert (found.id, str(found.run_id), found.key) == (made.id, run_id, "helpful")
    assert (found.score, found.value, found.comment) == (1, "so so", "Hm.")
    assert langsmith.read_feedback(made.id).score == 1
    langsmith.delete_feedback(made.id)
    assert list(langsmith.list_feedback(run_ids=[run_id])) == []
