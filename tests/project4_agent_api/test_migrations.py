"""Stage 4's migrations: what the earlier stages have stored stays, forward and back."""

import os
import subprocess
import sys

import psycopg
import pytest
from alembic import command as alembic

from shared.database.migrate import alembic_config, migrate
from tests.support.databases import Databases, differences
from tests.support.launched import ROOT

PACKAGE, BRANCH = "project4_agent_api", "project4"


def tables(address: str) -> set[str]:
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


def test_migrated_schema_matches_the_models(databases: Databases) -> None:
    with databases.migrated(PACKAGE) as address:
        assert differences(address, PACKAGE) == []


def test_concurrent_migrations_run_once(databases: Databases) -> None:
    with databases.empty() as address:
        command = [sys.executable, "-m", PACKAGE, "migrate"]
        several = [subprocess.Popen(command, env=os.environ | {"DATABASE_URL": address}, cwd=ROOT) for _ in range(3)]
        assert [one.wait(120) for one in several] == [0, 0, 0]
        assert differences(address, PACKAGE) == []


def test_stage_3_database_is_upgraded_and_downgraded(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    with databases.migrated("project3_rag_docs") as address:
        monkeypatch.setenv("DATABASE_URL", address)
        before = tables(address)
        with psycopg.connect(address) as connection:
            connection.execute(
                "INSERT INTO users VALUES (gen_random_uuid(), 'a@example.com', 'A', '$', 1, now(), now())"
            )

        for _ in range(2):
            assert migrate(PACKAGE, BRANCH) == 0
            assert {"accounts", "threads", "runs", "checkpoints", "store"} < tables(address)
            alembic.downgrade(alembic_config(PACKAGE), f"{BRANCH}@base")
            assert tables(address) == before

        with psycopg.connect(address) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
