"""Migrations: they make what the models say, go back, and change all or nothing."""

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic import command

from shared.database.migrate import alembic_config, migrate
from tests.support.databases import differences

PACKAGE, BRANCH = "project2_user_mgmt", "project2"


def tables(address: str) -> set[str]:
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


def test_migrated_schema_matches_the_models(database_url: str) -> None:
    assert differences(database_url, PACKAGE) == []

    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE users DROP COLUMN name")
    assert "add_column" in {kind for kind, *_ in differences(database_url, PACKAGE)}


def test_migrations_keep_rows_down_and_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO users VALUES (gen_random_uuid(), 'a@example.com', 'A', '$', 1, now(), now())")
        connection.execute("INSERT INTO messages SELECT gen_random_uuid(), id, 'user', 'Hi', now() FROM users")

    command.downgrade(alembic_config(PACKAGE), f"{BRANCH}@base")
    assert tables(database_url) == {"alembic_version"}
    assert migrate(PACKAGE, BRANCH) == 0

    assert tables(database_url) == {"alembic_version", "users", "messages"}


def test_failed_migration_changes_nothing(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    with psycopg.connect(empty_database) as connection:  # in the way of the second table
        connection.execute("CREATE TABLE messages (id int)")

    with pytest.raises(Exception, match="already exists"):
        migrate(PACKAGE, BRANCH)

    assert tables(empty_database) == {"messages"}


@pytest.mark.slow
def test_concurrent_migrations_run_once(empty_database: str) -> None:
    command_line = [sys.executable, "-m", PACKAGE, "migrate"]
    environment = os.environ | {"DATABASE_URL": empty_database}
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command_line, env=environment, cwd=root) for _ in range(3)]

    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert tables(empty_database) == {"alembic_version", "users", "messages"}


def test_database_of_a_later_stage_is_accepted(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert migrate("project3_rag_docs", "project3") == 0

    assert migrate(PACKAGE, BRANCH) == 0
    assert differences(database_url, PACKAGE) == []
    assert "documents" in tables(database_url)


@pytest.mark.parametrize("address", ["postgresql://app@127.0.0.1:1/none"])
def test_unavailable_database_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)

    assert migrate(PACKAGE, BRANCH) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_migration_waits_for_an_unavailable_database(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"later_{uuid.uuid4().hex}"
    address = server_url.rpartition("/")[0] + f"/{name}"
    monkeypatch.setenv("DATABASE_URL", address)
    with psycopg.connect(server_url, autocommit=True) as server, ThreadPoolExecutor(1) as threads:
        migrating = threads.submit(migrate, PACKAGE, BRANCH, ["--wait", "60"])
        with pytest.raises(TimeoutError):
            migrating.result(2)

        server.execute(f'CREATE DATABASE "{name}"')

        assert migrating.result(60) == 0
        assert "users" in tables(address)
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
