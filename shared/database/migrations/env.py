"""Alembic's environment, the same for every stage: each `alembic.ini` names the stage's models and version folders."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from shared.database.migrate import MIGRATION_LOCK, database_address, include_own_tables

config = context.config
only_own = include_own_tables(config)


def run(connection: Connection) -> None:
    """Run the migrations, all in one transaction: what fails half way leaves the database as it was."""
    options: dict[str, Any] = {"target_metadata": SQLModel.metadata, "include_object": only_own}
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        # Two processes that start at once would both create the tables: the second waits, and finds them there.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()


async def online() -> None:
    """Connect, and run the migrations."""
    engine = create_async_engine(database_address(), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if (given := config.attributes.get("connection")) is not None:
    run(given)
elif context.is_offline_mode():
    context.configure(url=database_address(), target_metadata=SQLModel.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
