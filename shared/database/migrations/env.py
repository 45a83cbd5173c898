"""Alembic's environment of every stage. Each `alembic.ini` names the stage's models and version folders."""

import asyncio
from typing import Any, Literal

from alembic import context
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from shared.database.address import connection_parameters
from shared.database.migrate import MIGRATION_LOCK, database_address, include_own_tables

_DIALECT = "postgresql+psycopg://"
config = context.config
include_object = include_own_tables(config)


def render_item(_kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write SQLModel's string type as SQLAlchemy's, which a revision imports."""
    return f"sa.String({item.length or ''})" if isinstance(item, AutoString) else False


def run(connection: Connection) -> None:
    """Run all migrations in one transaction, so that a failure leaves the database unchanged."""
    options: dict[str, Any] = {
        "target_metadata": SQLModel.metadata,
        "include_object": include_object,
        "render_item": render_item,
    }
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        # Two processes that start at the same time would both create the tables; the lock makes the second one wait.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()


async def connect() -> AsyncConnection[Any]:
    """Connect to the database, which SQLAlchemy cannot if the address has several hosts."""
    return await AsyncConnection.connect(make_conninfo("", **connection_parameters(database_address())))


async def online() -> None:
    """Connect, and run the migrations."""
    engine = create_async_engine(_DIALECT, async_creator=connect, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if (connection := config.attributes.get("connection")) is not None:
    run(connection)
elif context.is_offline_mode():
    context.configure(url=_DIALECT, target_metadata=SQLModel.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
