"""Databases on a real PostgreSQL: `TEST_DATABASE_URL`, or the embedded one. Every test gets one of its own."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from shared.database import driver_url
from shared.dev.services import postgres
from shared.dev.state import StageState
from shared.migrate import alembic_config, migrate, own_tables


class Databases:
    """Makes and drops databases on one server."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._templates: set[str] = set()

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The address of a database without a table."""
        with self._database("empty") as url:
            yield url

    @contextmanager
    def migrated(self, package: str) -> Iterator[str]:
        """The address of a database without a row, as the real migrations make it: a copy takes some milliseconds."""
        template = f"template_{package}"
        if template not in self._templates:
            self._make_template(template, package)
        with self._database("test", template) as url:
            yield url

    def _make_template(self, template: str, package: str) -> None:
        self._run("DROP DATABASE IF EXISTS {name}", name=template)
        self._run("CREATE DATABASE {name}", name=template)
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as thread:
            patch.setenv("DATABASE_URL", self._of(template))
            # Alembic runs an event loop, and while a browser is open this thread has one already.
            assert thread.submit(migrate, package, package.partition("_")[0]).result() == 0
        self._templates.add(template)

    @contextmanager
    def _database(self, name: str, template: str = "template1") -> Iterator[str]:
        self._run("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name)
        self._run("CREATE DATABASE {name} TEMPLATE {template}", name=name, template=template)
        yield self._of(name)
        self._run("DROP DATABASE {name} WITH (FORCE)", name=name)

    def _of(self, database: str) -> str:
        return make_url(self.server_url).set(database=database).render_as_string(hide_password=False)

    def _run(self, statement: str, **names: str) -> None:
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            identifiers = {key: sql.Identifier(name) for key, name in names.items()}
            connection.execute(sql.SQL(statement).format(**identifiers))


def differences(address: str, package: str) -> list[Any]:
    """What autogenerate would change in a database to make it what a stage's models say."""
    engine = create_engine(driver_url(address))
    config = alembic_config(package)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": own_tables(config)})
        found = compare_metadata(context, SQLModel.metadata)
    engine.dispose()
    return list(found)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server whose databases the tests may make and drop."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    state = StageState("tests")
    state.folder = tmp_path_factory.mktemp("postgres")
    child, found_by = postgres(state, os.environ)
    with asyncio.Runner() as runner:
        runner.run(child.start())
        yield found_by["DATABASE_URL"]
        runner.run(child.stop())


@pytest.fixture(scope="session")
def databases(server_url: str) -> Databases:
    """Makes databases."""
    return Databases(server_url)
