"""Two users: to each, the other's ids are unknown, in every operation."""

from typing import Any

import httpx2
import pytest

from tests.project4_agent_api.conftest import SignUp
from tests.support.oauth import CALLBACK, allowed_code, exchange

NOTHING: dict[str, Any] = {}
# Operations that name something by its id, with a body that they would accept from its owner.
BODIES: dict[str, Any] = {
    "DELETE /auth/api-keys/{key_id}": None,
    "DELETE /auth/grants/{grant_id}": None,
    "GET /documents/{document_id}": None,
    "PATCH /documents/{document_id}": {"filename": "mine.txt"},
    "GET /documents/{document_id}/chunks/{chunk_id}/neighbours": None,
    "DELETE /documents/{document_id}": None,
    "GET /documents/{document_id}/chunks": None,
    "GET /documents/{document_id}/file": None,
    "GET /documents/{document_id}/pages/{number}.png": None,
    "GET /documents/{document_id}/events": None,
    "GET /collections/{collection_id}": None,
    "PATCH /collections/{collection_id}": {"name": "mine"},
    "DELETE /collections/{collection_id}": None,
    "GET /collections/{collection_id}/shares": None,
    "PUT /collections/{collection_id}/shares/{user_id}": {"access": "write"},
    "DELETE /collections/{collection_id}/shares/{user_id}": None,
    "POST /collections/{collection_id}/invitations": {"email": "eve@example.com", "access": "write"},
    "GET /collections/{collection_id}/invitations": None,
    "DELETE /collections/{collection_id}/invitations/{invitation_id}": None,
    "POST /collection-invitations/{invitation_id}/accept": None,
    "DELETE /collection-invitations/{invitation_id}": None,
    "GET /documents/{document_id}/versions": None,
    "POST /documents/{document_id}/versions": None,
    "POST /documents/{document_id}/summary": None,
    "POST /documents/{document_id}/summary/stream": None,
    "GET /assistants/{assistant_id}": None,
    "PATCH /assistants/{assistant_id}": {"name": "mine"},
    "DELETE /assistants/{assistant_id}": None,
    "POST /assistants/{assistant_id}/versions": NOTHING,
    "POST /assistants/{assistant_id}/latest": {"version": 1},
    "GET /assistants/{assistant_id}/graph": None,
    "GET /assistants/{assistant_id}/schemas": None,
    "GET /assistants/{assistant_id}/subgraphs": None,
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": None,
    "GET /threads/{thread_id}": None,
    "PATCH /threads/{thread_id}": {"metadata": {"mine": True}},
    "DELETE /threads/{thread_id}": None,
    "POST /threads/{thread_id}/copy": None,
    "GET /threads/{thread_id}/state": None,
    "POST /threads/{thread_id}/state": {"values": None},
    "GET /threads/{thread_id}/state/{checkpoint_id}": None,
    "POST /threads/{thread_id}/state/checkpoint": {"checkpoint": {}},
    "POST /threads/{thread_id}/history": NOTHING,
    "GET /threads/{thread_id}/history": None,
    "GET /threads/{thread_id}/stream": None,
    "POST /threads/{thread_id}/runs": {"assistant_id": "agent"},
    "GET /threads/{thread_id}/runs": None,
    "POST /threads/{thread_id}/runs/wait": {"assistant_id": "agent"},
    "POST /threads/{thread_id}/runs/stream": {"assistant_id": "agent"},
    "GET /threads/{thread_id}/runs/{run_id}": None,
    "DELETE /threads/{thread_id}/runs/{run_id}": None,
    "GET /threads/{thread_id}/runs/{run_id}/join": None,
    "GET /threads/{thread_id}/runs/{run_id}/stream": None,
    "POST /threads/{thread_id}/runs/{run_id}/cancel": None,
    "POST /threads/{thread_id}/runs/crons": {"assistant_id": "agent", "schedule": "0 0 1 1 *"},
    "GET /runs/crons/{cron_id}": None,
    "PATCH /runs/crons/{cron_id}": {"schedule": "0 0 1 1 *"},
    "DELETE /runs/crons/{cron_id}": None,
    "GET /runs/{run_id}": None,
    "GET /runs/{run_id}/steps": None,
    "GET /runs/{run_id}/steps/{checkpoint_id}": None,
    "GET /feedback/{feedback_id}": None,
    "PATCH /feedback/{feedback_id}": {"score": 0},
    "DELETE /feedback/{feedback_id}": None,
}
FILES = {"POST /documents/{document_id}/versions": {"file": ("mine.txt", b"Mine.")}}
# For administrators, of any owner; and wires, whose errors have another form: see `wires/`.
APART = ("/users", "/v1/", "/ag-ui/", "/a2a/")
# A thread need not be there for these, which answer in the protocol's own form: see `test_protocol.py`.
PROTOCOL = {"POST /threads/{thread_id}/commands", "POST /threads/{thread_id}/stream/events"}


@pytest.fixture
async def ada(client4: httpx2.AsyncClient, sign_up: SignUp) -> dict[str, str]:
    """The ids of one object of every kind, which Ada owns."""
    headers = await sign_up("ada@example.com")

    async def made(method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await client4.request(method, path, headers=headers, **options)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    thread = await made("POST", "/threads", json={"metadata": {"secret": "ada's"}})
    run_at = f"/threads/{thread['thread_id']}/runs"
    # No worker is there, so the run waits.
    run = await made("POST", run_at, json={"assistant_id": "agent", "input": {"messages": []}})
    document = await made("POST", "/documents", files={"file": ("ada.txt", b"Ada's secret.", "text/plain")})
    collection = await made("POST", "/collections", json={"name": "ada's"})
    body = {"email": "cy@example.com", "access": "read"}
    invitation = await made("POST", f"/collections/{collection['id']}/invitations", json=body)
    assistant = await made("POST", "/assistants", json={"graph_id": "agent", "name": "ada's"})
    key = await made("POST", "/auth/api-keys", json={"name": "ada's"})
    cron = await made("POST", "/runs/crons", json={"assistant_id": "agent", "schedule": "0 0 1 1 *"})
    feedback = await made("POST", "/feedback", json={"run_id": run["run_id"], "key": "helpful", "score": 1})
    item = {"namespace": ["notes"], "key": "one", "value": {"secret": "ada's"}, "index": False}
    put = await client4.put("/store/items", headers=headers, json=item)
    assert put.status_code == 204
    return {
        "thread_id": thread["thread_id"],
        "run_id": run["run_id"],
        "document_id": document["id"],
        "collection_id": collection["id"],
        "invitation_id": invitation["id"],
        "user_id": (await made("GET", "/auth/me"))["id"],
        "assistant_id": assistant["assistant_id"],
        "key_id": key["id"],
        "cron_id": cron["cron_id"],
        "feedback_id": feedback["id"],
        "grant_id": await grant_of(client4, headers),
        "chunk_id": "01900000-0000-7000-8000-000000000001",  # nothing is read here: the document is checked first
        "checkpoint_id": "1f1e7d34-7e3d-6bea-8004-0abb7902f4f8",
        "namespace": "agent",
    }


async def grant_of(http: httpx2.AsyncClient, headers: dict[str, str]) -> str:
    """Return the id of what a user allowed an OAuth client."""
    client_id = (await http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).json()["client_id"]
    assert (await exchange(http, client_id, await allowed_code(http, headers, client_id))).is_success
    grant_id: str = (await http.get("/auth/grants", headers=headers)).json()["items"][0]["id"]
    return grant_id


async def test_other_owners_ids_answer_like_unknown_ones(
    client4: httpx2.AsyncClient, sign_up: SignUp, ada: dict[str, str]
) -> None:
    bob = await sign_up("bob@example.com")
    paths = (await client4.get("/openapi.json")).json()["paths"]
    named = {
        f"{method.upper()} {path}"
        for path, item in paths.items()
        for method in item
        if "{" in path and not path.startswith(APART)
    }

    assert named - PROTOCOL == set(BODIES)
    for operation, body in BODIES.items():
        method, path = operation.split(" ")
        for ids in (ada, dict.fromkeys(ada, "01900000-0000-7000-8000-000000000000")):
            url = path.format(**ids | {"number": 1})
            answer = await client4.request(method, url, headers=bob, json=body, files=FILES.get(operation))
            assert answer.status_code == 404, (operation, answer.text)
            assert answer.json()["type"] == "urn:problem:not-found", operation


async def test_lists_contain_own_items_only(client4: httpx2.AsyncClient, sign_up: SignUp, ada: dict[str, str]) -> None:
    bob = await sign_up("bob@example.com")

    async def asked(method: str, path: str, **options: Any) -> Any:  # noqa: ANN401  any JSON
        answer = await client4.request(method, path, headers=bob, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert (await asked("GET", "/documents"))["items"] == []
    assert (await asked("GET", "/documents", params={"collection_id": ada["collection_id"]}))["items"] == []
    assert (await asked("GET", "/collections"))["items"] == []
    mine = await client4.post("/documents", headers=bob, files={"file": ("bob.txt", b"Bob's own.", "text/plain")})
    moved = {"collection_id": ada["collection_id"]}
    assert (await client4.patch(f"/documents/{mine.json()['id']}", headers=bob, json=moved)).status_code == 404
    assert await asked("POST", "/threads/search", json={}) == []
    assert await asked("POST", "/threads/search", json={"ids": [ada["thread_id"]]}) == []
    assert await asked("POST", "/threads/count", json={}) == 0
    assert await asked("POST", "/threads/prune", json={"thread_ids": [ada["thread_id"]]}) == {"pruned_count": 0}
    assert await asked("POST", "/runs/crons/search", json={}) == []
    assert await asked("POST", "/runs/crons/count", json={}) == 0
    assert await asked("GET", "/feedback") == []
    assert await asked("GET", "/runs") == []
    assert (await asked("GET", "/auth/api-keys"))["items"] == []
    assert (await asked("GET", "/ask/history"))["items"] == []
    assert (await asked("POST", "/store/items/search", json={"namespace_prefix": []}))["items"] == []
    assert (await asked("POST", "/store/namespaces", json={}))["namespaces"] == []
    assert await asked("GET", "/store/items", params={"namespace": "notes", "key": "one"}) is None
    found = await asked("POST", "/assistants/search", json={"limit": 1000})
    assert ada["assistant_id"] not in {one["assistant_id"] for one in found}
    stopped = await client4.post("/runs/cancel", headers=bob, json={"status": "all"})
    assert stopped.status_code == 404
    run = await client4.post("/runs", headers=bob, json={"assistant_id": ada["assistant_id"]})
    assert run.status_code == 404
