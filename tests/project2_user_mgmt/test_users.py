"""Users: storage, races, pages and rejected input."""

import asyncio
import json
import runpy
from collections import Counter
from collections.abc import Sequence
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from uuid_utils.compat import uuid7

from project2_user_mgmt import passwords
from tests.support.users import PASSWORD, create


def stored(database_url: str, emails: Sequence[str]) -> list[str]:
    """Make users without hashing a password for each."""
    ids = [uuid7() for _ in emails]
    with psycopg.connect(database_url) as connection:
        connection.cursor().executemany(
            "INSERT INTO users VALUES (%s, %s, 'Ada', '$', 1, now(), now())", list(zip(ids, emails, strict=True))
        )
    return [str(one) for one in ids]


async def test_user_is_created_and_returned(client2: httpx2.AsyncClient) -> None:
    response = await client2.post("/users", json={"email": "Ada@Example.com", "name": "Ada", "password": PASSWORD})

    assert response.status_code == 201
    user = response.json()
    assert set(user) == {"id", "email", "name", "created_at", "updated_at", "version"}
    assert (user["email"], user["name"], user["version"]) == ("Ada@example.com", "Ada", 1)
    assert UUID(user["id"]).version == 7
    assert user["created_at"] == user["updated_at"]
    assert user["created_at"].endswith("Z")
    assert response.headers["etag"] == '"1"'
    shown = await client2.get(response.headers["location"])
    assert shown.json() == user
    assert shown.headers["etag"] == '"1"'


async def test_passwords_are_stored_as_argon2_only(client2: httpx2.AsyncClient, database_url: str) -> None:
    await create(client2)

    with psycopg.connect(database_url) as connection:
        (stored,) = connection.execute("SELECT password_hash FROM users").fetchone() or ("",)
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored


def test_password_hash_has_recommended_parameters() -> None:
    hasher = runpy.run_path(passwords.__file__)["_HASHER"]  # not that of this process, which tests make cheaper

    assert hasher.hash(PASSWORD).startswith("$argon2id$v=19$m=47104,t=1,p=1$")


async def test_50_creates_of_one_email_create_one_user(client2: httpx2.AsyncClient) -> None:
    cases = ["ada@example.com", "ADA@example.com", "Ada@Example.COM"]
    bodies = [{"email": cases[i % 3], "name": f"Ada {i}", "password": PASSWORD} for i in range(50)]

    answers = await asyncio.gather(*(client2.post("/users", json=body) for body in bodies))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    conflict = next(answer for answer in answers if answer.status_code == 409)
    assert conflict.json()["type"] == "urn:problem:conflict"
    assert len((await client2.get("/users")).json()["items"]) == 1


async def test_50_updates_of_one_version_have_one_winner(client2: httpx2.AsyncClient) -> None:
    user = await create(client2)
    url, headers = f"/users/{user['id']}", {"If-Match": '"1"'}

    answers = await asyncio.gather(*(client2.patch(url, json={"name": f"Ada {i}"}, headers=headers) for i in range(50)))

    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 49}
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert winner.headers["etag"] == '"2"'
    assert (await client2.get(url)).json() == winner.json()


async def test_patch_changes_given_fields_only(client2: httpx2.AsyncClient) -> None:
    user = await create(client2)
    url = f"/users/{user['id']}"

    renamed = (await client2.patch(url, json={"name": "Countess"})).json()
    moved = (await client2.patch(url, json={"email": "lovelace@example.com", "password": "another password"})).json()

    assert (renamed["name"], renamed["email"], renamed["version"]) == ("Countess", "ada@example.com", 2)
    assert (moved["name"], moved["email"], moved["version"]) == ("Countess", "lovelace@example.com", 3)
    assert moved["updated_at"] > renamed["updated_at"] > user["updated_at"]
    assert moved["created_at"] == user["created_at"]


async def test_update_to_a_taken_email_is_rejected(client2: httpx2.AsyncClient) -> None:
    await create(client2, "ada@example.com")
    other = await create(client2, "grace@example.com")

    response = await client2.patch(f"/users/{other['id']}", json={"email": "ADA@example.com"})

    assert response.status_code == 409
    assert (await client2.get(f"/users/{other['id']}")).json() == other


@pytest.mark.parametrize("given", ["1", '"x"', 'W/"1"', '"1", "2"', '""', '"99999999999999"'])
async def test_malformed_if_match_is_stale(client2: httpx2.AsyncClient, given: str) -> None:
    user = await create(client2)

    response = await client2.patch(f"/users/{user['id']}", json={"name": "x"}, headers={"If-Match": given})

    assert response.status_code == 412
    assert response.json()["type"] == "urn:problem:precondition-failed"


async def test_star_matches_any_version(client2: httpx2.AsyncClient) -> None:
    user = await create(client2)

    assert (
        await client2.patch(f"/users/{user['id']}", json={"name": "x"}, headers={"If-Match": "*"})
    ).status_code == 200


async def test_deleted_user_is_gone(client2: httpx2.AsyncClient) -> None:
    user = await create(client2)
    url = f"/users/{user['id']}"

    deleted = await client2.delete(url)

    assert (deleted.status_code, deleted.content) == (204, b"")
    for again in (client2.get(url), client2.delete(url), client2.patch(url, json={"name": "x"})):
        assert (await again).status_code == 404
    assert (await client2.get(f"/users/{uuid4()}")).json()["type"] == "urn:problem:not-found"


async def test_pages_are_stable_during_inserts_and_deletes(client2: httpx2.AsyncClient, database_url: str) -> None:
    there = stored(database_url, [f"user{i:02}@example.com" for i in range(25)])
    passing = stored(database_url, [f"passing{i}@example.com" for i in range(5)])
    there += stored(database_url, [f"late{i}@example.com" for i in range(5)])
    seen: list[str] = []
    cursor: str | None = None
    for number in range(100):
        page = (await client2.get("/users", params={"limit": 7} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [user["id"] for user in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await create(client2, f"new{number}@example.com")
        if passing:
            await client2.delete(f"/users/{passing.pop()}")

    assert len(seen) == len(set(seen))
    assert [user for user in seen if user in there] == there


PREFIXES = {
    "ada": {"ada@example.com"},
    "ADA@EX": {"ada@example.com"},
    "gr": {"grace@example.com", "other@example.com"},  # an e-mail, and a name
    "hopper": set(),  # not the beginning
    "100%": {"percent@example.com"},
    "%": set(),
    "_": set(),
    "\\": set(),
    "李": {"li@example.com"},
}


async def test_users_are_found_by_prefix(client2: httpx2.AsyncClient) -> None:
    await create(client2, "ada@example.com", name="Countess")
    await create(client2, "grace@example.com", name="Amazing")
    await create(client2, "other@example.com", name="GRACE Hopper")
    await create(client2, "percent@example.com", name="100% sure")
    await create(client2, "li@example.com", name="李白")

    found = {}
    for prefix in PREFIXES:
        items = (await client2.get("/users", params={"q": prefix})).json()["items"]
        found[prefix] = {user["email"] for user in items}

    assert found == PREFIXES


async def test_prefix_search_uses_its_indexes(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        rows = connection.execute(
            "EXPLAIN SELECT * FROM users"
            " WHERE lower(email) LIKE lower('ada') || '%' OR lower(name) LIKE lower('ada') || '%'"
        ).fetchall()
    plan = "\n".join(row[0] for row in rows)

    assert "uq_users_email" in plan
    assert "ix_users_name" in plan


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no-at-sign"),
        ("email", "a@b"),
        ("email", "a b@example.com"),
        ("email", "Ada <ada@example.com>"),
        ("email", "a@" + "x" * 250 + ".com"),
        ("email", "a\0@example.com"),
        ("email", None),
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("name", 7),
        ("password", "hunter2"),
        ("password", "x" * 201),
        ("password", 12345678),
    ],
)
async def test_invalid_user_is_rejected(client2: httpx2.AsyncClient, field: str, value: object) -> None:
    body = {"email": "ada@example.com", "name": "Ada", "password": PASSWORD} | {field: value}

    response = await client2.post("/users", json=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][:2] == ["body", field]
    assert len(response.json()["errors"]) == 1
    if isinstance(value, str) and value.strip():
        assert value not in response.text


@pytest.mark.parametrize("field", ["name", "email", "password"])
async def test_lone_surrogate_is_rejected(client2: httpx2.AsyncClient, field: str) -> None:
    r"""JSON can say `\ud800`, half of a surrogate pair, which is no text that can be stored."""
    body = {"email": "ada@example.com", "name": "Ada", "password": PASSWORD} | {field: "Ada \ud800 Lovelace"}

    response = await client2.post(
        "/users", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][:2] == ["body", field]


@pytest.mark.parametrize("email", ["ada+tag@example.com", "ada@bücher.example.com", "a.b-c_d@sub.example.com"])
async def test_unusual_emails_are_accepted(client2: httpx2.AsyncClient, email: str) -> None:
    assert (await create(client2, email))["email"] == email


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "cursor=",
        "cursor=AAAA",
        "cursor=%00",
        "cursor=" + "A" * 500,
        "q=",
        "q=%00",
        "q=" + "x" * 255,
    ],
)
async def test_malformed_page_is_rejected(client2: httpx2.AsyncClient, query: str) -> None:
    assert (await client2.get(f"/users?{query}")).status_code == 422


@pytest.mark.parametrize("user_id", ["1", "x", "00000000-0000-0000-0000-00000000000g", "%00"])
async def test_malformed_id_is_rejected(client2: httpx2.AsyncClient, user_id: str) -> None:
    for method in ("GET", "DELETE"):
        assert (await client2.request(method, f"/users/{user_id}")).status_code == 422
