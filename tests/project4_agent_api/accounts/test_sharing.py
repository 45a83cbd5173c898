"""Collections that users share: what readers and writers may do, and that nobody else gets anything."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from tests.project4_agent_api.conftest import SignUp
from tests.support.documents import finished, found, ready
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

HERON = "The heron nests by the river."


class Users:
    """Three clients: the owner of a collection, the user with whom it is shared, and another."""

    def __init__(self, clients: list[httpx2.AsyncClient], ids: list[str], collection_id: str) -> None:
        self.ada, self.bob, self.eve = clients
        self.bob_id, self.eve_id = ids[1:]
        self.collection_id = collection_id
        self.named = {"filter": {"collection_ids": [collection_id]}}

    async def share(self, access: str) -> None:
        path = f"/collections/{self.collection_id}/shares/{self.bob_id}"
        assert (await self.ada.put(path, json={"access": access})).status_code == 204

    async def put(self, client: httpx2.AsyncClient, name: str, content: str, status: int = 202) -> dict[str, Any]:
        files, form = {"file": (name, content.encode())}, {"collection_id": self.collection_id}
        response = await client.post("/documents", files=files, data=form)
        assert response.status_code == status, response.text
        document: dict[str, Any] = response.json()
        return document


@pytest.fixture
async def users(
    client4: httpx2.AsyncClient, sign_up: SignUp, make_settings4: Callable[..., Settings]
) -> AsyncIterator[Users]:
    """Ada with a collection, Bob and Eve; a worker reads their documents."""
    headers = [await sign_up(f"{name}@example.com") for name in ("ada", "bob", "eve")]
    clients = [
        httpx2.AsyncClient(base_url=client4.base_url, timeout=120, trust_env=False, headers=each) for each in headers
    ]
    ids = [(await client.get("/auth/me")).json()["id"] for client in clients]
    collection = (await clients[0].post("/collections", json={"name": "Birds"})).json()
    with running(create_worker(make_settings4())):
        yield Users(clients, ids, collection["id"])
        for client in clients:
            await client.aclose()


async def statuses(client: httpx2.AsyncClient, document: dict[str, Any]) -> list[int]:
    path = f"/documents/{document['id']}"
    reads = [(await client.get(path + part)).status_code for part in ("", "/chunks", "/file", "/events", "/versions")]
    patched = await client.patch(path, json={"tags": ["x"]})
    replaced = await client.post(f"{path}/versions", files={"file": ("v.txt", b"%PDF-1.7 and no more")})
    return [*sorted(set(reads)), patched.status_code, replaced.status_code]


async def test_reader_reads_and_finds_by_name_of_the_collection(users: Users, model: ScriptedModel) -> None:
    document = await finished(users.ada, await users.put(users.ada, "heron.txt", HERON))
    private = await ready(users.ada, "The heron is private.", "private.txt")
    own = await ready(users.bob, "The heron of Bob.", "bob.txt")
    assert await statuses(users.bob, document) == [404, 404, 404]

    await users.share("read")

    (listed,) = (await users.bob.get("/collections")).json()["items"]
    assert listed == {"id": users.collection_id, "name": "Birds", "access": "read"}
    assert (await users.bob.get(f"/collections/{users.collection_id}")).json() == listed
    params = {"collection_id": users.collection_id}
    assert [item["id"] for item in (await users.bob.get("/documents", params=params)).json()["items"]] == [
        document["id"]
    ]
    secret = (await users.ada.post("/collections", json={"name": "Secret"})).json()["id"]
    moved = await users.ada.patch(f"/documents/{private['id']}", json={"collection_id": secret, "tags": ["private"]})
    assert moved.status_code == 200
    wanted = json.dumps({"collection_ids": [users.collection_id, secret]})
    listed = (await users.bob.get("/documents", params={"filter": wanted})).json()["items"]
    assert [item["id"] for item in listed] == [document["id"]]
    assert (await users.bob.get("/documents/tags", params={"collection_id": secret})).json()["items"] == []
    assert (await users.ada.patch(f"/documents/{document['id']}", json={"metadata": {"year": 2024}})).status_code == 200
    names = (await users.bob.get("/documents/metadata", params=params)).json()["items"]
    assert names == [{"name": "year", "count": 1, "values": [2024]}]
    assert [hit["document_id"] for hit in await found(users.bob, "heron", **users.named)] == [document["id"]]
    assert [hit["document_id"] for hit in await found(users.bob, "heron")] == [own["id"]]
    assert await found(users.eve, "heron", **users.named) == []
    model.says("By the river [1].")
    question = {"question": "Where does the heron nest?", **users.named}
    answer = (await users.bob.post("/documents/ask", json=question)).json()
    assert [citation["document_id"] for citation in answer["citations"]] == [document["id"]]
    assert await statuses(users.bob, document) == [200, 403, 403]
    assert (await users.bob.delete(f"/documents/{document['id']}")).status_code == 403
    assert await statuses(users.bob, private) == await statuses(users.eve, document) == [404, 404, 404]
    refused = await users.put(users.bob, "new.txt", "A bird.", status=403)
    assert refused["detail"] == "The collection is shared with you for reading only."
    assert (await users.bob.patch(f"/collections/{users.collection_id}", json={"name": "x"})).status_code == 404

    left = await users.bob.delete(f"/collections/{users.collection_id}/shares/{users.bob_id}")
    assert left.status_code == 204
    assert await statuses(users.bob, document) == [404, 404, 404]
    assert await found(users.bob, "heron", **users.named) == []
    again = (await users.bob.post("/documents/ask", json=question)).json()
    assert again["citations"] == []


async def test_writer_changes_the_collection_of_the_owner(users: Users) -> None:
    secret = await ready(users.ada, "Ada's own.", "own.txt")
    await users.share("write")

    added = await finished(users.bob, await users.put(users.bob, "heron.txt", HERON))
    path = f"/documents/{added['id']}"

    assert (await users.bob.get("/documents")).json()["items"] == []
    assert {item["id"] for item in (await users.ada.get("/documents")).json()["items"]} == {secret["id"], added["id"]}
    assert (await found(users.ada, "heron"))[0]["document_id"] == added["id"]
    assert (await users.bob.patch(path, json={"tags": ["bird"]})).json()["tags"] == ["bird"]
    for collection_id in (None, users.collection_id):
        assert (await users.bob.patch(path, json={"collection_id": collection_id})).status_code == 403
    replaced = await users.bob.post(f"{path}/versions", files={"file": ("new.txt", b"The heron left.")})
    assert replaced.status_code == 202
    assert (await finished(users.bob, added))["version"] == 2
    assert [hit["text"] for hit in await found(users.bob, "heron", **users.named)] == ["The heron left."]
    same = await users.put(users.bob, "copy.txt", "Ada's own.", status=409)
    assert same["detail"] == "The collection's owner has another document with the same content."
    await users.share("read")
    assert (await users.bob.delete(path)).status_code == 403
    await users.share("write")
    assert (await users.bob.delete(path)).status_code == 204
    assert [hit["document_id"] for hit in await found(users.ada, "heron")] == [secret["id"]]


async def test_invited_user_reads_after_accepting(users: Users) -> None:
    document = await finished(users.ada, await users.put(users.ada, "heron.txt", HERON))
    path = f"/collections/{users.collection_id}"

    known = await users.ada.post(f"{path}/invitations", json={"email": "BOB@example.com", "access": "read"})
    unknown = await users.ada.post(f"{path}/invitations", json={"email": "nobody@example.com", "access": "read"})

    assert (known.status_code, known.json().keys()) == (unknown.status_code, unknown.json().keys())
    assert (await users.ada.get(f"{path}/invitations")).json()["items"] == [known.json(), unknown.json()]
    (received,) = (await users.bob.get("/collection-invitations")).json()["items"]
    assert received == {
        "id": known.json()["id"],
        "collection": "Birds",
        "owner": "ada@example.com",
        "access": "read",
        "created_at": known.json()["created_at"],
    }
    assert await statuses(users.bob, document) == [404, 404, 404]  # nothing is shared yet
    accept = f"/collection-invitations/{received['id']}/accept"
    assert (await users.eve.post(accept)).status_code == 404
    assert (await users.ada.post(accept)).status_code == 404

    accepted = await users.bob.post(accept)

    assert accepted.json() == {"id": users.collection_id, "name": "Birds", "access": "read"}
    assert await statuses(users.bob, document) == [200, 403, 403]
    (share,) = (await users.ada.get(f"{path}/shares")).json()["items"]
    assert (share["user_id"], share["email"]) == (users.bob_id, "BOB@example.com")
    assert (await users.ada.get(f"{path}/invitations")).json()["items"] == [unknown.json()]
    assert (await users.bob.post(accept)).status_code == 404
    assert (await users.ada.delete(f"{path}/shares/{users.bob_id}")).status_code == 204
    assert await statuses(users.bob, document) == [404, 404, 404]


async def test_owner_does_not_learn_who_has_an_account(users: Users, sign_up: SignUp) -> None:
    path = f"/collections/{users.collection_id}/invitations"
    await users.ada.post(path, json={"email": "bob@example.com", "access": "read"})
    await users.ada.post(path, json={"email": "late@example.com", "access": "write"})
    before = (await users.ada.get(path)).json()

    (received,) = (await users.bob.get("/collection-invitations")).json()["items"]
    assert (await users.eve.delete(f"/collection-invitations/{received['id']}")).status_code == 404
    assert (await users.bob.delete(f"/collection-invitations/{received['id']}")).status_code == 204
    late = await sign_up("late@example.com")

    assert (await users.ada.get(path)).json() == before  # neither the refusal nor the registration is seen
    assert (await users.bob.get("/collection-invitations")).json()["items"] == []
    # A user who registers an address that was invited gets nothing, because it is not verified.
    assert (await users.ada.get("/collection-invitations", headers=late)).json()["items"] == []
    assert (await users.bob.delete("/auth/me")).status_code == 204
    assert (await users.ada.get(path)).json() == before
    again = await users.ada.post(path, json={"email": "Late@example.com", "access": "read"})
    (received,) = (await users.ada.get("/collection-invitations", headers=late)).json()["items"]
    assert (received["id"], received["access"]) == (again.json()["id"], "read")
    assert len((await users.ada.get(path)).json()["items"]) == 2
    assert (await users.ada.delete(f"{path}/{again.json()['id']}")).status_code == 204
    assert (await users.ada.get("/collection-invitations", headers=late)).json()["items"] == []
    for email, detail in (("Ada@example.com", "The collection is your own."), ("ada", None)):
        refused = await users.ada.post(path, json={"email": email, "access": "read"})
        assert refused.status_code == 422
        assert detail in (None, refused.json()["detail"])


async def test_shares_are_managed_by_the_owner(users: Users) -> None:
    shares = f"/collections/{users.collection_id}/shares"
    await users.share("write")

    (share,) = (await users.ada.get(shares)).json()["items"]

    assert (share["user_id"], share["access"]) == (users.bob_id, "write")
    for client in (users.bob, users.eve):  # not even a writer shares it further
        assert (await client.get(shares)).status_code == 404
        assert (await client.put(f"{shares}/{users.eve_id}", json={"access": "read"})).status_code == 404
    assert (await users.eve.delete(f"{shares}/{users.bob_id}")).status_code == 404
    assert (await users.ada.put(f"{shares}/{users.collection_id}", json={"access": "read"})).status_code == 404
    assert (await users.ada.put(f"{shares}/{users.bob_id}", json={"access": "all"})).status_code == 422
    assert (await users.ada.delete(f"{shares}/{users.bob_id}")).status_code == 204
    assert (await users.ada.get(shares)).json()["items"] == []
    await users.share("read")
    assert (await users.bob.delete("/auth/me")).status_code == 204
    assert (await users.ada.get(shares)).json()["items"] == []
