"""Databases on a real PostgreSQL: `TEST_DATABASE_URL`, or the embedded one. Every test gets one of its own."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, LiteralString

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlmodel import SQLModel

from local.services import postgres
from local.state import StageState
from shared.database.migrate import alembic_config, include_own_tables, migrate

_OWN = os.environ.get("PYTEST_XDIST_WORKER", "")  # of processes that test side by side on one server, each has its own
# All that a test can leave behind in a database besides rows.
_SCHEMA = """
    WITH own AS (SELECT oid, relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    SELECT format('%s %s %s %s', relname, attnum, attname, format_type(atttypid, atttypmod)) FROM own
        JOIN pg_attribute ON attrelid = oid
    UNION ALL SELECT pg_get_indexdef(oid) FROM own WHERE relkind = 'i'
    UNION ALL SELECT format('%s %s', relname, pg_get_constraintdef(pg_constraint.oid)) FROM own
        JOIN pg_constraint ON conrelid = own.oid
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
    UNION ALL SELECT tgname FROM pg_trigger
    UNION ALL SELECT array_to_string(setconfig, ' ') FROM pg_db_role_setting
    ORDER BY 1
"""


class Databases:
    """Makes and drops databases on one server."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._schemas: dict[str, list[Any]] = {}  # of each template
        self._free: dict[str, list[str]] = {}  # by their template, databases without a row
        self._made = 0
        self._server = psycopg.connect(server_url, autocommit=True)

    def close(self) -> None:
        self._server.close()

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The address of a database without a table."""
        name = f"empty{_OWN}"
        self._run("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name)
        self._run("CREATE DATABASE {name}", name=name)
        yield self._of(name)
        self._run("DROP DATABASE {name} WITH (FORCE)", name=name)

    @contextmanager
    def migrated(self, package: str) -> Iterator[str]:
        """The address of a database without a row, as the real migrations make it.

        Copying one takes some tenths of a second, emptying one next to nothing; so one that is as it was is used again.
        """
        template = f"template_{package}{_OWN}"
        if template not in self._schemas:
            self._make_template(template, package)
        free = self._free.setdefault(template, [])
        name = free.pop() if free else self._copy(template)
        yield self._of(name)
        self._disconnect(name)
        with psycopg.connect(self._of(name), autocommit=True) as connection:
            as_it_was = connection.execute(_SCHEMA).fetchall() == self._schemas[template]
            if as_it_was:
                _empty(connection)
        if as_it_was:
            free.append(name)
        else:
            self._run("DROP DATABASE {name} WITH (FORCE)", name=name)

    def _copy(self, template: str) -> str:
        self._made += 1
        name = f"test_{self._made}{_OWN}"
        self._run("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name)
        self._run("CREATE DATABASE {name} TEMPLATE {template}", name=name, template=template)
        return name

    def _make_template(self, template: str, package: str) -> None:
        self._run("DROP DATABASE IF EXISTS {name}", name=template)
        self._run("CREATE DATABASE {name}", name=template)
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as thread:
            patch.setenv("DATABASE_URL", self._of(template))
            # Alembic runs an event loop, and while a browser is open this thread has one already.
            assert thread.submit(migrate, package, package.partition("_")[0]).result() == 0
        with psycopg.connect(self._of(template)) as connection:
            self._schemas[template] = connection.execute(_SCHEMA).fetchall()

    def _disconnect(self, name: str) -> None:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        while self._execute(ended, [name]).fetchall():
            time.sleep(0.005)  # PostgreSQL itself would look ten times a second

    def _of(self, database: str) -> str:
        return make_url(self.server_url).set(database=database).render_as_string(hide_password=False)

    def _run(self, statement: str, **names: str) -> None:
        identifiers = {key: sql.Identifier(name) for key, name in names.items()}
        self._execute(sql.SQL(statement).format(**identifiers))

    def _execute(self, statement: LiteralString | sql.Composed, values: Sequence[str] = ()) -> psycopg.Cursor[Any]:
        """Execute a statement; a test may have restarted the server since the last one."""
        try:
            return self._server.execute(statement, values)
        except psycopg.OperationalError:
            self._server.close()
            self._server = psycopg.connect(self.server_url, autocommit=True)
            return self._server.execute(statement, values)


def _empty(connection: psycopg.Connection[Any]) -> None:
    """Empty the tables that have rows, and restart the sequences that were used: most of forty tables were not."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic_version%'"
    ).fetchall()
    row = sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})")
    rows = sql.SQL(" UNION ALL ").join(row.format(table, sql.Identifier(table)) for (table,) in tables)
    used = connection.execute("SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL").fetchall()
    changes = [sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(sequence)) for (sequence,) in used]
    if filled := connection.execute(rows).fetchall():
        names = sql.SQL(", ").join(sql.Identifier(table) for (table,) in filled)
        changes.append(sql.SQL("TRUNCATE {} CASCADE").format(names))
    if changes:
        connection.execute(sql.SQL(";").join(changes))


def differences(address: str, package: str) -> list[Any]:
    """Return the changes that autogenerate would make to a database so that it fits a stage's models."""
    engine = create_engine(make_url(address).set(drivername="postgresql+psycopg"))
    config = alembic_config(package)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": include_own_tables(config)})
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
        _reduce_costs(found_by["DATABASE_URL"])
        yield found_by["DATABASE_URL"]
        runner.run(child.stop())


def _reduce_costs(url: str) -> None:
    """Have the password of the server's only role checked with one hash instead of 4,096, and write without waiting."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET scram_iterations = 1")
        connection.execute(sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(make_url(url).password))
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[Databases]:
    """Makes databases."""
    with closing(Databases(server_url)) as databases:
        yield databases
