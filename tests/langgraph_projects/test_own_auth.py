"""A project with authentication and authorization of its own: each user has their own, and what others share."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from langgraph_sdk import get_client

from project4_agent_api.accounts.authorized_operations import OPERATIONS
from tests.langgraph_projects.conftest import ServeProject
from tests.project4_agent_api.test_isolation import BODIES, FILES
from tests.support.sse import events_of

UNKNOWN = "01900000-0000-7000-8000-000000000000"
RUN: dict[str, Any] = {"assistant_id": "notes", "input": {"note": "hello"}}


@pytest.fixture(scope="module")
def url(serve_project: ServeProject) -> Iterator[str]:
    with serve_project("own_auth") as url:
        yield url


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        yield http


Key = Callable[[str], dict[str, str]]


@pytest.fixture
def key() -> Key:
    """Gives the headers of a user whom no other test has."""
    suffix = uuid.uuid4().hex[:8]
    return lambda name: {"X-Api-Key": f"key-of-{name}-{suffix}"}


async def test_users_of_the_project_have_their_own_and_what_is_shared(
    url: str, http: httpx2.AsyncClient, key: Key, stack: AsyncExitStack
) -> None:
    ada, bob, eve = [
        await stack.enter_async_context(get_client(url=url, api_key=None, headers=key(name)))
        for name in ("ada", "bob", "eve")
    ]
    names = {name: key(name)["X-Api-Key"].removeprefix("key-of-") for name in ("ada", "bob", "eve")}

    for headers in ({}, {"X-Api-Key": "other"}, {"Authorization": "Bearer key-of-ada"}):
        refused = await http.post("/threads", json={}, headers=headers)
        assert refused.status_code == 401
        assert refused.json()["detail"] == "This key is unknown."
    assert (await http.post("/auth/register", json={})).status_code == 404
    assert (await http.post("/threads", json={}, headers=key("eve"))).json()["detail"] == "This key may only read."
    assert (await http.get("/users", headers=key("ada"))).status_code == 403

    thread = await ada.threads.create(metadata={"readers": [names["eve"]], "owner": names["bob"]})
    assert thread["metadata"] == {"readers": [names["eve"]], "owner": names["ada"]}
    values = await ada.runs.wait(thread["thread_id"], "notes", input={"note": "hello"})
    assert isinstance(values, dict)
    assert values["user"] == {
        "identity": names["ada"],
        "id": names["ada"],
        "team": "red",
        "permissions": ["write"],
    }
    (run,) = await ada.runs.list(thread["thread_id"])
    assert run["metadata"]
    assert run["metadata"]["owner"] == names["ada"]
    assert "'langgraph_auth_user':" not in str(run["kwargs"])  # type: ignore[typeddict-item]  # untyped
    item = await ada.store.get_item(("notes",), "last")
    assert item
    assert item["value"] == {"note": "hello"}
    assert await bob.store.get_item(("notes",), "last") is None

    # Eve may read Ada's thread and nothing else of it; Bob may not.
    assert (await eve.threads.get(thread["thread_id"]))["thread_id"] == thread["thread_id"]
    assert [each["thread_id"] for each in await eve.threads.search()] == [thread["thread_id"]]
    assert (await eve.threads.get_state(thread["thread_id"]))["values"]["note"] == "hello"  # type: ignore[call-overload]  # a dict
    assert (await http.delete(f"/threads/{thread['thread_id']}", headers=key("eve"))).status_code == 404
    assert (await http.post(f"/threads/{thread['thread_id']}/copy", headers=key("eve"))).status_code == 403
    assert (await http.post(f"/threads/{thread['thread_id']}/runs", json=RUN, headers=key("eve"))).status_code == 404
    assert await bob.threads.search() == []
    assert await bob.threads.count() == 0
    assert await ada.threads.count() == 1

    stateless = await bob.runs.wait(None, "notes", input={"note": "bob's"})
    assert isinstance(stateless, dict)
    assert stateless["user"]["identity"] == names["bob"]
    cron: Any = await bob.crons.create("notes", schedule="0 0 1 1 *", metadata={"owner": names["ada"]})
    assert cron["metadata"] == {"owner": names["bob"]}
    assert "langgraph_auth_user" not in cron["payload"]


async def test_open_stream_ends_when_the_handler_begins_to_refuse(
    http: httpx2.AsyncClient, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("project4_agent_api.accounts.open_responses.PROJECT_CHECK_SECONDS", 0.05)
    ada, bob = key("ada"), key("bob")
    thread = (await http.post("/threads", json={}, headers=ada)).json()
    path = f"/threads/{thread['thread_id']}/stream"
    async with http.stream("GET", path, headers=ada) as stream:
        assert stream.status_code == 200
        monkeypatch.setenv("REVOKED_KEY", bob["X-Api-Key"].removeprefix("key-of-"))
        assert (await http.get("/threads/" + thread["thread_id"], headers=bob)).status_code == 401
        monkeypatch.setenv("REVOKED_KEY", ada["X-Api-Key"].removeprefix("key-of-"))
        name, data = await anext(events_of(stream))
    assert (name, data["message"]) == ("error", "The credentials of this request are no longer accepted.")


async def test_users_of_the_project_have_secrets_for_webhooks(http: httpx2.AsyncClient, key: Key) -> None:
    path = "/auth/me/webhook-secret"
    created = await http.post(path, headers=key("ada"))
    assert (created.status_code, created.json()["secret"][:6]) == (201, "whsec_")
    assert (await http.get(path, headers=key("ada"))).json()["created_at"] == created.json()["created_at"]
    assert (await http.get(path, headers=key("bob"))).status_code == 404


async def test_feedback_follows_the_thread_of_its_run(http: httpx2.AsyncClient, key: Key) -> None:
    ada, bob, eve = key("ada"), key("bob"), key("eve")
    readers = [eve["X-Api-Key"].removeprefix("key-of-")]
    thread = (await http.post("/threads", json={"metadata": {"readers": readers}}, headers=ada)).json()
    later = RUN | {"after_seconds": 3600}
    run = (await http.post(f"/threads/{thread['thread_id']}/runs", json=later, headers=ada)).json()
    given = {"run_id": run["run_id"], "key": "helpful", "score": 1}

    # Eve may read the thread, and what runs on it did, but not change it.
    assert (await http.get(f"/runs/{run['run_id']}", headers=eve)).json()["status"] == "pending"
    assert (await http.get(f"/runs/{run['run_id']}/steps", headers=eve)).json() == []
    assert (await http.get("/runs", headers=eve)).json() == []
    assert (await http.get(f"/runs/{run['run_id']}", headers=bob)).status_code == 404
    assert (await http.post("/feedback", json=given, headers=eve)).status_code == 404
    assert (await http.post("/feedback", json=given, headers=bob)).status_code == 404
    feedback_id = (await http.post("/feedback", json=given, headers=ada)).json()["id"]
    assert (await http.get(f"/feedback/{feedback_id}", headers=eve)).json()["score"] == 1
    assert (await http.get(f"/feedback/{feedback_id}", headers=bob)).status_code == 404
    for headers in (eve, bob):
        assert (await http.patch(f"/feedback/{feedback_id}", json={"score": 0}, headers=headers)).status_code == 404
        assert (await http.delete(f"/feedback/{feedback_id}", headers=headers)).status_code == 404
    assert (await http.patch(f"/feedback/{feedback_id}", json={"score": 0}, headers=ada)).json()["score"] == 0


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def of_ada(http: httpx2.AsyncClient, key: Key) -> dict[str, str]:
    """The ids of one object of every kind, which Ada owns."""

    async def made(method: str, path: str, **options: Any) -> Any:  # noqa: ANN401  any JSON
        answer = await http.request(method, path, headers=key("ada"), **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    thread = await made("POST", "/threads", json={"metadata": {"secret": "ada's"}})
    later = RUN | {"after_seconds": 3600}
    run = await made("POST", f"/threads/{thread['thread_id']}/runs", json=later)
    assistant = await made("POST", "/assistants", json={"graph_id": "notes", "name": "ada's"})
    cron = await made("POST", "/runs/crons", json={"assistant_id": "notes", "schedule": "0 0 1 1 *"})
    item = {"namespace": ["notes"], "key": "one", "value": {"secret": "ada's"}, "index": False}
    await made("PUT", "/store/items", json=item)
    feedback = await made("POST", "/feedback", json={"run_id": run["run_id"], "key": "helpful", "score": 1})
    return {
        "feedback_id": feedback["id"],
        "thread_id": thread["thread_id"],
        "run_id": run["run_id"],
        "document_id": UNKNOWN,
        "collection_id": UNKNOWN,
        "invitation_id": UNKNOWN,
        "user_id": UNKNOWN,
        "assistant_id": assistant["assistant_id"],
        "key_id": UNKNOWN,
        "cron_id": cron["cron_id"],
        "chunk_id": "01900000-0000-7000-8000-000000000001",
        "checkpoint_id": "1f1e7d34-7e3d-6bea-8004-0abb7902f4f8",
        "namespace": "notes",
    }


async def test_other_users_ids_answer_like_unknown_ones(
    http: httpx2.AsyncClient, of_ada: dict[str, str], key: Key
) -> None:
    walked = 0
    for operation, body in BODIES.items():
        method, path = operation.split(" ")
        if path.startswith("/auth"):
            continue
        answers = []
        for ids in (of_ada, dict.fromkeys(of_ada, UNKNOWN)):
            named = body | {"assistant_id": "notes"} if body and "assistant_id" in body else body
            sent: dict[str, Any] = {"json": named, "files": FILES.get(operation)}
            answer = await http.request(method, path.format(**ids, number=1), headers=key("bob"), **sent)
            assert answer.status_code == 404, (operation, answer.text)
            answers.append((answer.status_code, answer.json().get("type"), answer.json().get("detail")))
        assert answers[0] == answers[1], operation
        walked += 1
    assert walked > 35


async def test_lists_and_bodies_reach_own_objects_only(
    http: httpx2.AsyncClient, of_ada: dict[str, str], key: Key
) -> None:
    async def asked(method: str, path: str, **options: Any) -> Any:  # noqa: ANN401  any JSON
        answer = await http.request(method, path, headers=key("bob"), **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    thread_id = of_ada["thread_id"]
    assert (await asked("GET", "/documents"))["items"] == []
    assert await asked("POST", "/threads/search", json={"ids": [thread_id]}) == []
    assert await asked("POST", "/threads/search", json={"metadata": {"secret": "ada's"}}) == []
    assert await asked("GET", "/feedback") == []
    assert await asked("POST", "/threads/count", json={}) == 0
    assert await asked("POST", "/threads/prune", json={"thread_ids": [thread_id]}) == {"pruned_count": 0}
    assert await asked("POST", "/runs/crons/search", json={}) == []
    assert await asked("POST", "/runs/crons/count", json={}) == 0
    assert (await asked("POST", "/store/items/search", json={"namespace_prefix": []}))["items"] == []
    assert (await asked("POST", "/store/namespaces", json={}))["namespaces"] == []
    assert await asked("GET", "/store/items", params={"namespace": "notes", "key": "one"}) is None
    found = await asked("POST", "/assistants/search", json={"limit": 1000})
    assert of_ada["assistant_id"] not in {one["assistant_id"] for one in found}

    async def refused(path: str, body: dict[str, Any] | list[Any]) -> int:
        return (await http.post(path, headers=key("bob"), json=body)).status_code

    of_assistant = RUN | {"assistant_id": of_ada["assistant_id"]}
    assert await refused("/runs", of_assistant) == 404
    assert await refused("/runs/wait", of_assistant) == 404
    assert await refused("/runs/batch", [RUN, of_assistant]) == 404
    assert await refused("/runs/crons", of_assistant | {"schedule": "0 0 1 1 *"}) == 404
    assert await refused("/runs/cancel", {"status": "all"}) == 404
    assert await refused("/runs/cancel", {"thread_id": thread_id, "run_ids": [of_ada["run_id"]]}) == 404
    assert await refused("/threads", {"thread_id": thread_id}) == 409
    assert await refused("/threads", {"thread_id": thread_id, "if_exists": "do_nothing"}) == 409
    assert await refused(f"/threads/{thread_id}/runs", RUN | {"if_not_exists": "create"}) == 404
    start = {"id": 1, "method": "run.start", "params": RUN}
    command = await http.post(f"/threads/{thread_id}/commands", headers=key("bob"), json=start)
    assert command.json()["type"] == "error", command.text
    mine = await http.post("/threads", headers=key("bob"), json={"metadata": {"owner": "ada", "readers": "x"}})
    assert mine.json()["metadata"]["owner"].startswith("bob-")
    # Everything is still there for Ada.
    for path in (f"/threads/{thread_id}", f"/threads/{thread_id}/runs/{of_ada['run_id']}"):
        assert (await http.get(path, headers=key("ada"))).status_code == 200
    assert (await http.get(f"/runs/crons/{of_ada['cron_id']}", headers=key("ada"))).status_code == 200
    stopped = await http.post("/runs/cancel", headers=key("ada"), json={"status": "all"})
    assert stopped.status_code == 204


async def test_thread_in_a_body_lends_nothing_but_itself(
    http: httpx2.AsyncClient, of_ada: dict[str, str], key: Key
) -> None:
    bob = key("bob")["X-Api-Key"].removeprefix("key-of-")
    shared = await http.post("/threads", headers=key("ada"), json={"metadata": {"writers": [bob]}})
    thread_id = shared.json()["thread_id"]
    changed = await http.patch(f"/threads/{thread_id}", headers=key("bob"), json={"metadata": {"seen": True}})
    assert changed.status_code == 200, changed.text

    both = {"status": "all", "thread_id": thread_id}
    assert (await http.post("/runs/cancel", headers=key("bob"), json=both)).status_code == 422
    for path in ("/threads/prune", "/runs/cancel"):
        body = {"thread_id": thread_id, "thread_ids": [of_ada["thread_id"]], "run_ids": [of_ada["run_id"]]}
        await http.post(path, headers=key("bob"), json=body)

    run = await http.get(f"/threads/{of_ada['thread_id']}/runs/{of_ada['run_id']}", headers=key("ada"))
    assert run.json()["status"] == "pending"


async def test_every_operation_of_langgraphs_api_is_authorized(http: httpx2.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    served = {
        f"{method.upper()} {path}"
        for path, item in paths.items()
        for method in item
        if path.startswith(("/assistants", "/threads", "/runs", "/store", "/feedback"))
    }

    assert served == set(OPERATIONS)


async def test_malformed_bodies_are_refused_before_anything_is_stored(http: httpx2.AsyncClient, key: Key) -> None:
    for body, status in ((b"{", 422), (b"[]", 422), (b"null", 422), (b'{"metadata": "x"}', 422), (b"", 422)):
        answer = await http.post("/threads", content=body, headers=key("ada") | {"Content-Type": "application/json"})
        assert answer.status_code == status, (body, answer.text)
    assert (await http.post("/threads/count", json={}, headers=key("ada"))).json() == 0
    assert (await http.get(f"/threads/{uuid.uuid4()}", headers=key("ada"))).status_code == 404


async def test_own_routes_need_the_projects_authentication(http: httpx2.AsyncClient, key: Key) -> None:
    refused = await http.get("/whoami")
    assert (refused.status_code, refused.json()["detail"]) == (401, "This key is unknown.")
    assert (await http.get("/whoami", headers={"X-Api-Key": "other"})).status_code == 401
    answer = await http.get("/whoami", headers=key("ada"))
    identity = key("ada")["X-Api-Key"].removeprefix("key-of-")
    assert answer.json() == {"name": identity, "team": "red", "scopes": ["write"]}
    assert (await http.post("/threads/count", json={}, headers=key("bob"))).json() == 0
    seen = (await http.get("/seen", headers=key("ada"))).json()
    # The middleware ran after the authentication, also for LangGraph's own routes.
    assert [each.partition("-")[0] for each in seen[-3:]] == ["ada", "bob", "ada"]


async def test_wires_ask_the_handlers_of_the_project(http: httpx2.AsyncClient, key: Key) -> None:
    accept = {"Accept": "application/json, text/event-stream"}

    def call(method: str, **params: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}

    listing = call("tools/list")
    assert (await http.post("/mcp", json=listing, headers=accept)).status_code == 401
    assert (await http.get("/a2a/notes/.well-known/agent-card.json")).status_code == 401
    tools = (await http.post("/mcp", json=listing, headers=accept | key("eve"))).json()["result"]["tools"]
    assert {"notes", "search_documents"} <= {tool["name"] for tool in tools}

    note = call("tools/call", name="notes", arguments={"note": "hello"})
    refused = await http.post("/mcp", json=note, headers=accept | key("eve"))
    assert "This key may only read." in refused.text
    message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"data": {"note": "hello"}}]}
    refused = await http.post("/a2a/notes", json=call("SendMessage", message=message), headers=key("eve"))
    assert refused.json()["error"]["message"] == "This key may only read."
