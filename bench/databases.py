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

from local.services import postgres, valkey
from local.state import StageState


@asynccontextmanager
async def postgresql() -> AsyncIterator[str]:
    """Yield the URL of a PostgreSQL server: `TEST_DATABASE_URL`, or an embedded one that is stopped after the block."""
    given = given_server()
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        state = StageState("bench")
        state.folder = Path(folder)
        child, found_by = postgres(state, os.environ)
        try:
            await child.start()
            yield found_by["DATABASE_URL"]
        finally:
            await child.stop()


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """Yield the URL of a Redis server: `TEST_REDIS_URL`, or an embedded Valkey that is stopped after the block."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        state = StageState("bench")
        state.folder = Path(folder)
        child, found_by = valkey(state, os.environ)
        try:
            await child.start()
            yield found_by["REDIS_URL"]
        finally:
            await child.stop()


def given_server() -> str | None:
    """Return the URL of an external server, if any: its CPU time is not counted as ours."""
    return os.environ.get("TEST_DATABASE_URL")


def server_version(server: str) -> str:
    """Return the version of a PostgreSQL server, for example `18.1`."""
    with psycopg.connect(server) as connection:
        return str(connection.info.parameter_status("server_version"))


@contextmanager
def migrated_database(server: str, name: str, package: str) -> Iterator[str]:
    """Create an empty, migrated database for a stage; yield its URL, and drop it after the block."""
    _on_server(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    _on_server(server, "CREATE DATABASE {}", name)
    try:
        address = make_url(server).set(database=name).render_as_string(hide_password=False)
        command = [sys.executable, "-m", package, "migrate"]
        environment = os.environ | {"DATABASE_URL": address}
        subprocess.run(command, cwd=Path(__file__).parent.parent, env=environment, check=True, capture_output=True)
        yield address
    finally:
        _on_server(server, "DROP DATABASE {} WITH (FORCE)", name)


def _on_server(server: str, statement: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
