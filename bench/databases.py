"""The PostgreSQL and Redis servers of a benchmark, and temporary databases."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from local.python import python_path
from local.services import ServiceFactory, postgres, valkey
from local.state import StageState


@asynccontextmanager
async def embedded(create: ServiceFactory) -> AsyncIterator[dict[str, str]]:
    """Run an embedded service while the block runs; yield the environment variables that point to it."""
    with tempfile.TemporaryDirectory() as folder:
        state = StageState("bench")
        state.folder = Path(folder)
        child, found_by = create(state, python_path(os.environ))
        try:
            await child.start()
            yield found_by
        finally:
            await child.stop()


@asynccontextmanager
async def postgresql() -> AsyncIterator[str]:
    """Yield the URL of a PostgreSQL server: `TEST_DATABASE_URL`, or an embedded one that is stopped after the block."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
    else:
        async with embedded(postgres) as found_by:
            yield found_by["DATABASE_URL"]


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """Yield the URL of a Redis server: `TEST_REDIS_URL`, or an embedded Valkey that is stopped after the block."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
    else:
        async with embedded(valkey) as found_by:
            yield found_by["REDIS_URL"]


def server_version(server: str) -> str:
    """Return the version of a PostgreSQL server for the report, and whether its CPU time is counted as ours."""
    with psycopg.connect(server) as connection:
        version = connection.info.parameter_status("server_version")
    external = "TEST_DATABASE_URL" in os.environ
    return f"{version}, " + ("whose CPU time counts as that of other processes" if external else "embedded")


@contextmanager
def empty_database(server: str, name: str) -> Iterator[str]:
    """Create a database without a table; yield its URL, and drop it after the block."""
    _on_server(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    _on_server(server, "CREATE DATABASE {}", name)
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _on_server(server, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def migrated_database(server: str, name: str, package: str) -> Iterator[str]:
    """Create an empty, migrated database for a stage; yield its URL, and drop it after the block."""
    with empty_database(server, name) as address:
        command = [sys.executable, "-m", package, "migrate"]
        environment = os.environ | {"DATABASE_URL": address}
        subprocess.run(command, cwd=Path(__file__).parent.parent, env=environment, check=True, capture_output=True)
        yield address


def _on_server(server: str, statement: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
