"""The operators' commands: what each does, and the one line that it says where something is wrong."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import psycopg
import pytest

from project3_rag_docs.main import create_app as create_app3
from project4_agent_api.settings import Settings
from shared.owner import LOCAL_OWNER_ID
from tests.project4_agent_api.conftest import Operate
from tests.support.accounts import PASSWORD, bearer, register, sign_in
from tests.support.databases import Databases
from tests.support.documents import finished, found, ready, rows
from tests.support.launched import ROOT
from tests.support.processes import run
from tests.support.running import running


async def test_command_creates_the_first_administrator(client4: httpx2.AsyncClient, operate: Operate) -> None:
    said = operate("create-admin", "Root@example.com", "--name", "Root", says=f"{PASSWORD}\n")

    assert said == "Root@example.com is an administrator\n"
    account = await client4.get("/auth/me", headers=bearer(await sign_in(client4, "root@example.com")))
    assert (account.json()["role"], account.json()["name"]) == ("admin", "Root")


async def test_command_finds_an_email_in_any_unicode_form(client4: httpx2.AsyncClient, operate: Operate) -> None:
    await register(client4, "ren\N{LATIN SMALL LETTER E WITH ACUTE}@example.com")

    said = operate("deactivate", "REN\N{LATIN CAPITAL LETTER E}\N{COMBINING ACUTE ACCENT}@Example.com")

    assert said == "ren\N{LATIN SMALL LETTER E WITH ACUTE}@example.com is deactivated\n"


@pytest.mark.slow
async def test_usage_errors_are_one_line(client4: httpx2.AsyncClient, operate: Operate, databases: Databases) -> None:
    await register(client4, "ada@example.com")
    cases = [
        (("create-admin", "ada@example.com"), PASSWORD, "There is a user with this e-mail already."),
        (("create-admin", "ADA@example.com"), PASSWORD, "There is a user with this e-mail already."),
        (("create-admin", "ada"), PASSWORD, "email: is not an e-mail address"),
        (("create-admin", "root@example.com"), "short", "password: "),
        (("create-admin", "root@example.com"), "", "password: "),
        (("set-role", "nobody@example.com", "admin"), "", "There is no account with this e-mail."),
        (("deactivate", "nobody@example.com"), "", "There is no account with this e-mail."),
        (("activate", "nobody@example.com"), "", "There is no account with this e-mail."),
        (("adopt-documents", "nobody@example.com"), "", "There is no account with this e-mail."),
    ]

    for arguments, says, line in cases:
        said = operate(*arguments, says=says, status=2)
        assert said.startswith(f"error: {line}"), said
        assert said.count("\n") == 1, said
        assert not says or says not in said

    assert "invalid choice: 'owner'" in operate("set-role", "ada@example.com", "owner", status=2)
    with databases.empty() as url:
        assert activate(url) == "error: the database is not migrated: `python -m project4_agent_api migrate`\n"
    away = "postgresql://nobody@127.0.0.1:1/x"
    assert activate(away) == ("error: The database cannot be reached. Try again shortly.\n")
    assert activate("").startswith("error: DATABASE_URL is not set")


def activate(database_url: str) -> str:
    environment = {"DATABASE_URL": database_url, "LOG_LEVEL": "ERROR"}
    done = run("project4_agent_api", "activate", "ada@example.com", environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.slow
def test_command_runs_as_its_own_process() -> None:
    command = [sys.executable, "-m", "project4_agent_api", "activate", "ada@example.com"]
    environment = {"DATABASE_URL": "", "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: DATABASE_URL is not set")


async def test_roles_are_set(client4: httpx2.AsyncClient, operate: Operate) -> None:
    await register(client4, "ada@example.com")
    headers = bearer(await sign_in(client4, "ada@example.com"))

    for role in ("admin", "user", "admin"):
        assert operate("set-role", "Ada@example.com", role) == f"the role of ada@example.com is {role}\n"
        assert (await client4.get("/auth/me", headers=headers)).json()["role"] == role


async def test_account_adopts_the_local_users_documents(
    client4: httpx2.AsyncClient, operate: Operate, make_settings4: Callable[..., Settings], database_url: str
) -> None:
    def lines(word: str) -> str:
        return "".join(f"The {word} number {i} stands in the long hall of the library.\n\n" for i in range(400))

    with running(create_app3(make_settings4())) as url:  # stage 3 on the same database: everyone is one local user
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as local:
            long = await ready(local, lines("wardrobe"), "long.txt")
            collection = (await local.post("/collections", json={"name": "Halls"})).json()
            labels = {"metadata": {"year": 2026}, "tags": ["hall"], "collection_id": collection["id"]}
            assert (await local.patch(f"/documents/{long['id']}", json=labels)).status_code == 200
            earlier = await ready(local, "The library opens at eight.\n", "earlier.txt")
            for version in (("hours.txt", b"The library opens at nine.\n"), ("broken.pdf", b"%PDF-1.7 and no more")):
                await local.post(f"/documents/{earlier['id']}/versions", files={"file": version})
                await finished(local, earlier)
            await ready(local, "图书馆九点开门，六点关门。\n", "hours-zh.txt")
            await ready(local, "Both have this one.\n", "both.txt")
            before = {word: await found(local, word) for word in ("wardrobe", "opens", "九点开门", "both")}
            await register(client4, "ada@example.com")
            client4.headers.update(bearer(await sign_in(client4, "ada@example.com")))
            await ready(client4, "Both have this one.\n", "mine.txt")
            of_local = corpora(database_url, str(LOCAL_OWNER_ID))

            assert operate("adopt-documents", "ada@example.com") == (
                "ada@example.com got 3 documents, and had 1 already\n"
            )
            assert operate("adopt-documents", "ada@example.com") == (
                "ada@example.com got 0 documents, and had 0 already\n"
            )

            assert (await local.get("/documents")).json()["items"] == []
            assert [await found(local, word) for word in ("wardrobe", "opens", "九点开门")] == [[], [], []]

    own = (await client4.get("/documents")).json()["items"]
    assert {item["filename"] for item in own} == {"long.txt", "hours.txt", "hours-zh.txt", "mine.txt"}
    (tagged,) = (await client4.get("/documents?tag=hall")).json()["items"]
    assert (tagged["filename"], tagged["metadata"]) == ("long.txt", labels["metadata"])
    assert tagged["collection_id"] == collection["id"]
    assert (await client4.get("/collections")).json()["items"] == [collection]
    hours = next(item["id"] for item in own if item["filename"] == "hours.txt")
    versions = (await client4.get(f"/documents/{hours}/versions")).json()["items"]
    assert [(version["filename"], version["status"]) for version in versions] == [
        ("broken.pdf", "failed"),
        ("hours.txt", "ready"),
        ("earlier.txt", "replaced"),
    ]
    account = (await client4.get("/auth/me")).json()
    assert corpora(database_url, account["id"]) == of_local
    for word, hits in before.items():
        best, best_before = (await found(client4, word))[0], hits[0]
        assert (best["text"], best["page"], best["heading"]) == (
            best_before["text"],
            best_before["page"],
            best_before["heading"],
        )
    file = await client4.get(f"/documents/{next(i['id'] for i in own if i['filename'] == 'long.txt')}/file")
    assert file.text == lines("wardrobe")


def corpora(database_url: str, owner_id: str) -> list[tuple[Any, ...]]:
    """The BM25 statistics of an owner's documents."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT language, chunk_count, term_count FROM corpora WHERE owner_id = %s ORDER BY language", [owner_id]
        ).fetchall()


async def test_adopted_pending_document_is_ingested(
    client4: httpx2.AsyncClient, operate: Operate, make_settings4: Callable[..., Settings], database_url: str
) -> None:
    await register(client4, "ada@example.com")
    client4.headers.update(bearer(await sign_in(client4, "ada@example.com")))
    files = {"file": ("a.txt", b"The library opens at nine.\n")}
    stored = await client4.post("/documents", files=files)
    assert stored.status_code == 202
    with psycopg.connect(database_url) as connection:  # as an upload to a stage 3 that was ended at once
        connection.execute("UPDATE documents SET owner_id = %s", [LOCAL_OWNER_ID])

    operate("adopt-documents", "ada@example.com")
    (adopted,) = (await client4.get("/documents")).json()["items"]
    assert adopted["status"] == "processing"

    with running(create_app3(make_settings4())):  # its worker
        await client4.get(f"/documents/{adopted['id']}/events")
        assert [hit["filename"] for hit in await found(client4, "opens")] == ["a.txt"]
    assert rows(database_url, "chunks") == 1
