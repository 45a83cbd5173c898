"""Stage 3's migrations: what stage 2 has stored stays, forward and back."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import httpx2
import psycopg
import pytest
from alembic import command

from shared.database.migrate import alembic_config, migrate
from tests.support.databases import Databases, differences
from tests.support.documents import found, ready

PACKAGE, BRANCH = "project3_rag_docs", "project3"


def names(address: str, kind: str) -> set[str]:
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relkind = %s AND relnamespace = 2200", [kind])
        return {row[0] for row in rows}


def test_migrated_schema_matches_the_models(database_url: str) -> None:
    assert differences(database_url, PACKAGE) == []


def test_stage_2_database_is_upgraded_and_downgraded(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    with databases.migrated("project2_user_mgmt") as address:
        monkeypatch.setenv("DATABASE_URL", address)
        before = names(address, "r")
        with psycopg.connect(address) as connection:
            connection.execute(
                "INSERT INTO users VALUES (gen_random_uuid(), 'a@example.com', 'A', '$', 1, now(), now())"
            )
            connection.execute("INSERT INTO messages SELECT gen_random_uuid(), id, 'user', 'Hi', now() FROM users")

        for _ in range(2):
            assert migrate(PACKAGE, BRANCH) == 0
            assert {"documents", "chunks", "postings", "procrastinate_jobs"} < names(address, "r")
            command.downgrade(alembic_config(PACKAGE), f"{BRANCH}@base")
            assert names(address, "r") == before

        with psycopg.connect(address) as connection:
            left = connection.execute(
                "SELECT count(*) FROM users JOIN messages ON user_id = users.id"
                " WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'procrastinate%')"
                " AND NOT EXISTS (SELECT FROM pg_type WHERE typname LIKE 'procrastinate%')"
            ).fetchone()
        assert left == (1,)


def test_documents_can_be_read_while_their_hashes_are_migrated(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with databases.migrated(PACKAGE) as address:
        monkeypatch.setenv("DATABASE_URL", address)
        command.downgrade(alembic_config(PACKAGE), "p3_0002")
        with psycopg.connect(address) as connection:
            connection.execute(
                "INSERT INTO documents (id, owner_id, filename, media_type, size_bytes, sha256, status, chunk_count,"
                " created_at) SELECT gen_random_uuid(), gen_random_uuid(), 'a.csv', 'text/csv', 1, 'abc', 'ready', 0,"
                " now()"
            )
            connection.execute("""
                CREATE FUNCTION refuse_locks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    ASSERT NOT EXISTS (
                        SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'
                            AND relation IN ('documents'::regclass, 'chunks'::regclass)
                    ), 'nobody can read the documents';
                    RETURN new;
                END $$
            """)
            connection.execute(
                "CREATE TRIGGER refuse_locks BEFORE UPDATE ON documents FOR EACH ROW EXECUTE FUNCTION refuse_locks()"
            )

        assert migrate(PACKAGE, BRANCH) == 0

        with psycopg.connect(address) as connection:
            hashed = connection.execute("SELECT sha256, notice FROM documents").fetchone()
    assert hashed == (sha256(b"abc text/csv").hexdigest(), None)


async def test_migration_counts_earlier_chunks(client3: httpx2.AsyncClient, database_url: str) -> None:
    """Back to the first version with documents in it, and up again: everything is as it was."""
    await ready(client3, "# Heron\n\nThe heron nests.\n\n# River\n\nBy the river.", "en.md")
    await ready(client3, "图书馆早上九点开门。", "zh.txt")
    counts = ("SELECT * FROM terms ORDER BY 1", "SELECT * FROM document_languages ORDER BY 1, 2")

    def read() -> list[list[tuple[object, ...]]]:
        with psycopg.connect(database_url) as connection:
            return [connection.execute(statement.encode()).fetchall() for statement in counts]

    before = read()
    with ThreadPoolExecutor() as thread, pytest.MonkeyPatch.context() as patch:  # Alembic runs a loop of its own
        patch.setenv("DATABASE_URL", database_url)
        thread.submit(command.downgrade, alembic_config(PACKAGE), "p3_0001").result()
        assert names(database_url, "i") >= {"ix_chunks_embedding"}
        assert names(database_url, "r").isdisjoint({"terms", "document_languages"})
        assert thread.submit(migrate, PACKAGE, BRANCH).result() == 0

    assert read() == before
    assert len(before[1]) == 2
    assert differences(database_url, PACKAGE) == []
    assert (await found(client3, "heron"))[0]["heading"] == "Heron"
