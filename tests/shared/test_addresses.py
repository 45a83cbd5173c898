"""Each command refuses an address in one line, and the service works with the addresses of other tools."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.databases import Databases
from tests.support.processes import run

pytestmark = pytest.mark.slow

SECRET = "s3cret-of-the-address"
COMMANDS = [
    ("project2_user_mgmt", []),
    ("project2_user_mgmt", ["migrate"]),
    ("project3_rag_docs", []),
    ("project3_rag_docs", ["migrate"]),
    ("project3_rag_docs", ["reindex"]),
    ("project4_agent_api", []),
    ("project4_agent_api", ["worker"]),
    ("project4_agent_api", ["migrate"]),
    ("project4_agent_api", ["reindex"]),
    ("project4_agent_api", ["runs"]),
    ("project4_agent_api", ["deactivate", "ada@example.com"]),
]
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "LLM_MODEL": "m",
    "EMBEDDING_MODEL": "e",
    "JWT_SECRET": "a secret of the tests, with more than 32 bytes",
    "DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/d",
    "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
}


@pytest.mark.parametrize(("package", "arguments"), COMMANDS, ids=str)
def test_database_address_is_refused_in_one_line(package: str, arguments: list[str]) -> None:
    for parameter, message in (
        ("pgbouncer=true", "DATABASE_SESSION_URL must"),
        ("sslmode=a", "DATABASE_URL: sslmode "),
    ):
        address = f"postgresql://u:{SECRET}@127.0.0.1:1/d?{parameter}"
        done = run(package, *arguments, environment=ENVIRONMENT | {"DATABASE_URL": address})

        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {message}")
        assert SECRET not in done.stdout + done.stderr
        assert done.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["worker"], ["runs"], ["deactivate", "ada@example.com"]], ids=str)
def test_redis_address_is_refused_in_one_line(arguments: list[str]) -> None:
    address = f"redis://:{SECRET}@127.0.0.1:1/first"
    done = run("project4_agent_api", *arguments, environment=ENVIRONMENT | {"REDIS_URL": address})

    assert done.stderr == "error: REDIS_URL: the database must be a number\n"
    assert done.returncode == 2


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[str]:
    """A database without a table."""
    with databases.empty() as address:
        yield address


def test_schema_of_the_address_gets_the_tables(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        address = f"{empty_database}?schema=mine&sslmode=disable"
        missing = run("project4_agent_api", "migrate", environment=ENVIRONMENT | {"DATABASE_URL": address})
        connection.execute("CREATE SCHEMA mine")
        done = run("project4_agent_api", "migrate", environment=ENVIRONMENT | {"DATABASE_URL": address})

        assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
        assert (done.returncode, done.stderr) == (0, "")
        rows = connection.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('users', 'runs')")
        assert rows.fetchall() == [("mine",)]
