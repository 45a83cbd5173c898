"""The view of runs: lists, steps and details, read from what a real API and worker have stored."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from langgraph_sdk.client import LangGraphClient, get_client
from playwright.sync_api import Page, expect

from tests.support.agent_runs import said
from tests.support.agent_service import PASSWORD, AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow

GRAPHS = Path(__file__).parents[2] / "conformance" / "graphs" / "langgraph.json"
FETCH = ("fetch_web_page", json.dumps({"url": "http://127.0.0.1:9/secret"}))
PRICES = {"scripted-model": {"input": 100_000, "output": 200_000}}
UNKNOWN = "01900000-0000-7000-8000-000000000000"
# A checkpoint, and what its node wrote, for each of a thousand steps.
THOUSAND_STEPS = """
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    SELECT %(thread)s, '', lpad(n::text, 32, '0')::uuid,
        CASE WHEN n > 1 THEN lpad((n - 1)::text, 32, '0')::uuid END, NULL,
        jsonb_build_object('ts', now(), 'channel_versions', '{}'::jsonb, 'channel_values', '{}'::jsonb),
        jsonb_build_object('source', 'loop', 'step', n, 'run_id', %(run)s::text, 'run_attempt', 1 + n / 600)
    FROM generate_series(1, 1000) AS n
"""
THOUSAND_WRITES = """
    INSERT INTO checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    SELECT %(thread)s, '', lpad(n::text, 32, '0')::uuid, 'task', '~__pregel_pull, count', 0, 'text', 'bytes',
        convert_to(repeat('x', 100000), 'UTF8') FROM generate_series(1, 1000) AS n
"""


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[str]:
    with databases.migrated("project4_agent_api") as url:
        yield url


@pytest.fixture(scope="module")
def service(database: str, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    settings = {"sign_ins_per_minute": "10000", "llm_prices": json.dumps(PRICES)}
    with agent_service(database, _redis_server, _model_server, GRAPHS, **settings) as running:
        yield running


async def ran(client: LangGraphClient, graph: str, thread_id: str = "", **options: Any) -> dict[str, Any]:
    """Make a run and wait until it has ended; return it."""
    thread_id = thread_id or (await client.threads.create())["thread_id"]
    made = await client.runs.create(thread_id, graph, **options)
    await client.runs.join(thread_id, made["run_id"])
    return dict(await client.runs.get(thread_id, made["run_id"]))


async def steps_of(http: httpx2.AsyncClient, run: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await http.get(f"/runs/{run['run_id']}/steps", params=query)
    assert answer.status_code == 200, answer.text
    steps: list[dict[str, Any]] = answer.json()
    return steps


async def details_of(http: httpx2.AsyncClient, run: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    path = f"/runs/{run['run_id']}/steps/{step['checkpoint_id']}"
    answer = await http.get(path, params={"namespace": step["namespace"]})
    assert answer.status_code == 200, answer.text
    details: dict[str, Any] = answer.json()
    return details


def outline(steps: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Return of each step the subgraph, the status and the nodes."""
    return [
        ("|".join(part.partition(":")[0] for part in step["namespace"].split("|")), step["status"], names)
        for step in steps
        for names in [[task["name"] for task in step["tasks"]]]
    ]


async def test_list_has_own_runs_newest_first_in_pages(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    first = await ran(client, "echo", input=said("first question"))
    second = await ran(client, "failing", input={})

    found = await http.get("/runs", params={"limit": 1})
    assert [run["run_id"] for run in found.json()] == [second["run_id"]]
    more = await http.get("/runs", params={"limit": 1, "offset": found.headers["X-Pagination-Next"]})
    (run,) = more.json()
    assert (run["run_id"], run["title"], run["graph_id"]) == (first["run_id"], "first question", "echo")
    failed = (await http.get("/runs", params={"status": "error"})).json()
    assert [run["run_id"] for run in failed] == [second["run_id"]]
    of_assistant = await http.get("/runs", params={"assistant_id": first["assistant_id"]})
    assert [run["run_id"] for run in of_assistant.json()] == [first["run_id"]]
    assert "X-Pagination-Next" not in of_assistant.headers


async def test_steps_have_messages_calls_results_tokens_and_state(
    client: LangGraphClient, http: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    model.then(calls(("calculator", '{"expression": "17 * 23"}')), says("It is 391."))
    run = await ran(client, "agent", input=said("What is 17 * 23?"))

    details = (await http.get(f"/runs/{run['run_id']}")).json()
    assert (details["status"], details["attempt"], details["failures"]) == ("success", 1, 0)
    assert details["tokens"] == {"input": 7, "cached_input": 0, "output": 3, "total": 10}
    assert details["cost"] == {"amount": pytest.approx(1.3), "currency": "USD", "unpriced_models": []}
    listed = (await http.get("/runs")).json()[0]
    assert (listed["tokens"], listed["cost"]) == (details["tokens"], details["cost"])
    assert (details["tokens_complete"], details["events_kept"]) == (True, True)
    assert details["request_id"]

    steps = await steps_of(http, run)
    assert details["steps"] == len(steps)
    assert steps[-1]["status"] == "end"
    starts, ends = [step["started_at"] for step in steps], [step["ended_at"] for step in steps[:-1]]
    assert starts[1:] == ends
    asking, answering = [step for step in steps if step["model"]]
    assert asking["calls"] == ["calculator"]
    assert (answering["tokens"], answering["cost"]) == (details["tokens"], details["cost"])
    assert (asking["tokens"], asking["cost"]) == (None, None)
    (calling,) = [step for step in steps if step["tools"]]
    assert (calling["tools"], calling["tasks"][0]["name"]) == (["calculator"], "tools")

    asked = await details_of(http, run, asking)
    assert [message["content"] for message in asked["messages"]] == ["What is 17 * 23?"]
    assert asked["tasks"][0]["written"][0]["value"][0]["tool_calls"][0]["args"] == {"expression": "17 * 23"}
    called = await details_of(http, run, calling)
    (change,) = [change for change in called["changes"] if change["channel"] == "messages"]
    assert (change["items_before"], change["items_after"]) == (2, 3)
    assert [message["content"] for message in change["added"]] == ["391"]
    assert called["messages_total"] == 2
    assert called["cut"] is False


async def test_usage_counts_tokens_of_runs_that_are_gone_too(
    http: httpx2.AsyncClient, model: ScriptedModel, database: str, service: AgentService
) -> None:
    http.headers.update(service.sign_up())
    others = service.sign_up()
    model.then(*[says("It is three.")] * 3)
    async with get_client(url=service.url, api_key=None, headers=dict(http.headers)) as client:
        kept = await ran(client, "agent", input=said("1"), durability="exit")
        deleted = await ran(client, "agent", input=said("2"))
        await client.threads.delete(deleted["thread_id"])
        await client.runs.wait(None, "agent", input=said("3"))  # its thread is temporary

    assert (await http.get(f"/runs/{kept['run_id']}")).json()["tokens"]["total"] == 10
    usage = (await http.get("/auth/me/usage/models")).json()
    assert usage["total"]["calls"] == 3
    assert usage["total"]["tokens"] == {"input": 21, "cached_input": 0, "output": 9, "total": 30}
    (today,) = usage["days"]
    assert (today["model"], today["cost"]["amount"]) == ("scripted-model", pytest.approx(3.9))
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE model_usage SET model = 'another-model', day = day - 7 WHERE calls = 3")
    usage = (await http.get("/auth/me/usage/models", params={"days": 7})).json()
    assert (usage["days"], usage["total"]["calls"]) == ([], 3)
    assert usage["total"]["cost"] == {"amount": None, "currency": "USD", "unpriced_models": ["another-model"]}
    assert (await http.get("/auth/me/usage/models", headers=others)).json()["total"]["calls"] == 0
    assert (await http.delete("/auth/me")).status_code == 204
    with psycopg.connect(database) as connection:
        left = connection.execute("SELECT count(*) FROM model_usage WHERE model = 'another-model'").fetchone()
    assert left == (0,)


async def test_approval_is_a_question_answered_by_another_run(
    client: LangGraphClient, http: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    model.then(calls(FETCH), says("It could not be read."))
    asking = await ran(client, "agent", input=said("Read it"))
    assert (await http.get("/runs")).json()[0]["waiting"] is True

    waiting = (await steps_of(http, asking))[-1]
    assert (waiting["status"], waiting["continued_by"], waiting["tasks"][0]["asked"]) == ("waiting", None, True)
    question = (await details_of(http, asking, waiting))["tasks"][0]["questions"][0]
    assert question["action_requests"][0]["args"] == {"url": "http://127.0.0.1:9/secret"}

    resume = {"decisions": [{"type": "approve"}]}
    answering = await ran(client, "agent", asking["thread_id"], command={"resume": resume})
    assert [run["waiting"] for run in (await http.get("/runs")).json()][:2] == [False, False]
    assert (await steps_of(http, asking))[-1]["continued_by"] == answering["run_id"]
    first = (await steps_of(http, answering))[0]
    assert (first["checkpoint_id"], first["own"], first["status"]) == (waiting["checkpoint_id"], False, "done")
    assert (await details_of(http, answering, first))["tasks"][0]["answers"] == [resume]


async def test_steps_of_subgraphs_are_between_those_around_them(
    client: LangGraphClient, http: httpx2.AsyncClient
) -> None:
    run = await ran(client, "nested", input={"ask": False})

    assert outline(await steps_of(http, run)) == [
        ("", "done", ["__start__"]),
        ("", "done", ["begin"]),
        ("", "done", ["middle"]),
        ("middle", "done", ["__start__"]),
        ("middle", "done", ["down"]),
        ("middle", "done", ["inner"]),
        ("middle|inner", "done", ["__start__"]),
        ("middle|inner", "done", ["bottom"]),
        ("middle|inner", "end", []),
        ("middle", "end", []),
        ("", "end", []),
    ]


async def test_failed_step_is_the_last_one(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    run = await ran(client, "failing", input={})

    steps = await steps_of(http, run)
    assert outline(steps)[-2:] == [("", "done", ["one"]), ("", "failed", ["break"])]
    error = (await http.get(f"/runs/{run['run_id']}")).json()["error"]
    assert error == {"error": "ValueError", "message": "It is broken."}
    assert (await details_of(http, run, steps[-1]))["changes"] == []


async def test_stopped_run_shows_the_node_that_was_due(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run: Any = await client.runs.create(thread_id, "slow", input={"seconds": 60}, stream_mode=["custom"])
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if part.event == "custom":  # it sleeps
            await client.runs.cancel(thread_id, run["run_id"], wait=True)

    last = (await steps_of(http, run))[-1]
    assert (last["status"], last["next"]) == ("stopped", ["sleep"])


async def test_run_from_a_step_starts_at_its_checkpoint(client: LangGraphClient, http: httpx2.AsyncClient) -> None:
    run = await ran(client, "counter", input={})
    (second,) = [step for step in await steps_of(http, run) if step["tasks"] and step["tasks"][0]["name"] == "two"]

    again = await ran(client, "counter", run["thread_id"], checkpoint_id=second["checkpoint_id"])

    executed = [names for _, _, names in outline(await steps_of(http, again)) if names]
    assert executed == [["two"], ["three"]]
    assert (await client.threads.get_state(run["thread_id"]))["values"]["trail"] == ["one", "two", "three"]  # type: ignore[call-overload]  # a dict


async def test_a_thousand_large_steps_are_read_in_small_pages(
    client: LangGraphClient, http: httpx2.AsyncClient, database: str
) -> None:
    run = await ran(client, "echo", input=said("x"))
    parameters = {"thread": run["thread_id"], "run": run["run_id"]}
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM checkpoints WHERE thread_id = %(thread)s", parameters)
        connection.execute(THOUSAND_STEPS, parameters)
        connection.execute(THOUSAND_WRITES, parameters)

    seen: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 200}
    while query:
        page = await http.get(f"/runs/{run['run_id']}/steps", params=query)
        assert len(page.content) < 200_000
        seen += page.json()
        after = page.headers.get("X-Pagination-Next")
        query = {"limit": 200, "after": after} if after else {}
    assert [step["step"] for step in seen] == list(range(1, 1001))
    assert {step["attempt"] for step in seen} == {1, 2}
    assert (await http.get(f"/runs/{run['run_id']}")).json()["steps"] == 1000
    details = await details_of(http, run, seen[0])
    assert details["cut"] is True
    assert len(json.dumps(details)) < 20_000


async def test_missing_runs_steps_and_those_of_others_are_not_found(
    client: LangGraphClient, http: httpx2.AsyncClient, service: AgentService
) -> None:
    run = await ran(client, "echo", input=said("mine"))
    (step, *_) = await steps_of(http, run)
    paths = ["", "/steps", f"/steps/{step['checkpoint_id']}"]

    assert (await http.get(f"/runs/{run['run_id']}/steps/{uuid.uuid4()}")).status_code == 404
    other = await ran(client, "echo", run["thread_id"], input=said("other"))
    assert (await http.get(f"/runs/{other['run_id']}/steps/{step['checkpoint_id']}")).status_code == 404
    for path in paths:
        assert (await http.get(f"/runs/{UNKNOWN}{path}")).status_code == 404
        assert (await http.get(f"/runs/{run['run_id']}{path}", headers=service.sign_up())).status_code == 404
    await client.threads.delete(run["thread_id"])
    for path in paths:
        assert (await http.get(f"/runs/{run['run_id']}{path}")).status_code == 404


# The last one: while the browser is open, no async test can run.
def test_page_leads_from_the_chat_to_a_step_and_to_a_new_run(
    service: AgentService, model: ScriptedModel, page: Page
) -> None:
    account = {"email": f"{uuid.uuid4()}@example.com", "name": "Ada", "password": PASSWORD}
    httpx2.post(f"{service.url}/auth/register", json=account, trust_env=False).raise_for_status()
    page.goto(service.url)
    page.get_by_label("E-mail").fill(account["email"])
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    model.then(calls(("calculator", '{"expression": "17 * 23"}')), says("It is 391."), says("It is four."))
    page.get_by_label("Message", exact=True).fill("What is 17 * 23?")
    page.get_by_label("Message", exact=True).press("Control+Enter")
    expect(page.locator(".ai > .answer").last).to_have_text("It is 391.")

    page.get_by_role("link", name="What it did").click()
    steps = page.locator(".run-steps > li:not(.silent)")
    expect(steps.locator(".run-node")).to_have_text(["Input", "model", "tools", "model", "End"])
    expect(page.locator(".run-title")).to_contain_text("What is 17 * 23?")
    expect(page.locator(".run-title")).to_contain_text("finished")
    calling = steps.nth(2)
    calling.locator("summary").first.press("Enter")
    expect(calling.locator(".run-task pre")).to_have_text(["391"])
    silent = page.locator(".run-steps > .silent").first
    expect(silent).to_be_hidden()
    page.get_by_label("Also show steps").check()
    expect(silent).to_be_visible()

    first = page.url
    steps.first.locator("summary").first.click()
    steps.first.get_by_text("Run again from here").click()
    steps.first.get_by_label("Another message instead").fill("What is 2 + 2?")
    steps.first.get_by_role("button", name="Start a new run").click()
    expect(page.locator(".run-title")).to_contain_text("What is 2 + 2?")
    expect(page.locator(".run-title")).to_contain_text("finished")
    expect(steps.locator(".run-node")).to_have_text(["Input", "model", "End"])
    assert page.url != first
    page.get_by_role("link", name="Open the conversation").click()
    expect(page.locator(".human .answer")).to_have_text(["What is 2 + 2?"])
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name="All runs").click()
    expect(page.locator(".run-list .title")).to_have_text(["What is 2 + 2?", "What is 17 * 23?"])
