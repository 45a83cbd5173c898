"""The baseline of stage 2: its SQL statements in psycopg, behind minimal routes.

`python -m bench.bare_users hashing` hashes the password of a new user like stage 2; `… hashless` does not hash;
`… transaction` does not hash, and runs each statement in a transaction. The statements are exactly those that
SQLAlchemy sends in stage 2. No middleware, settings, logs, validation, or checks of pooled connections.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from uuid_utils.compat import uuid7

from bench.servers import serve_handed_socket
from shared.pagination import encode_cursor

_COLUMNS = "users.id, users.email, users.name, users.password_hash, users.version, users.created_at, users.updated_at"
_GET = f"SELECT {_COLUMNS} \nFROM users \nWHERE users.id = %(pk_1)s::UUID"
_LIST = f"SELECT {_COLUMNS} \nFROM users ORDER BY users.id \n LIMIT %(param_1)s::INTEGER"
_INSERT = (
    "INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at) VALUES (%(id)s::UUID, "
    "%(email)s::VARCHAR, %(name)s::VARCHAR, %(password_hash)s::VARCHAR, %(version)s::INTEGER, "
    "%(created_at)s::TIMESTAMP WITH TIME ZONE, %(updated_at)s::TIMESTAMP WITH TIME ZONE)"
)

Row = tuple[UUID, str, str, str, int, datetime, datetime]
Hash = Callable[[str], Awaitable[str]]


class Pool:
    """As many connections as stage 2 has, each used by one request at a time.

    Args:
        in_transaction: Whether each statement runs between BEGIN and COMMIT.
    """

    def __init__(self, *, in_transaction: bool) -> None:
        self._in_transaction = in_transaction
        self._free = asyncio.Queue[psycopg.AsyncConnection[Any]]()

    @asynccontextmanager
    async def opened(self, _: Starlette) -> AsyncIterator[None]:
        """Open the connections, and close them after the block."""
        opened = [
            await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=not self._in_transaction)
            for _ in range(int(os.environ["DB_POOL_SIZE"]))
        ]
        for connection in opened:
            self._free.put_nowait(connection)
        try:
            yield
        finally:
            for connection in opened:
                await connection.close()

    @asynccontextmanager
    async def statement(self, text: str, values: dict[str, Any]) -> AsyncIterator[psycopg.AsyncCursor[Any]]:
        """Run a statement, and yield its cursor."""
        connection = await self._free.get()
        try:
            cursor = await connection.execute(text, values)
            if self._in_transaction:
                await connection.commit()
            yield cursor
        finally:
            self._free.put_nowait(connection)


def bare_users(pool: Pool, hash_password: Hash) -> ASGIApp:
    """Create stage 2's three most used routes and `/health` with Starlette."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def get_user(request: Request) -> JSONResponse:
        async with pool.statement(_GET, {"pk_1": UUID(request.path_params["user_id"])}) as found:
            row = await found.fetchone()
        return JSONResponse(_shown(row)) if row else JSONResponse(None, status_code=404)

    async def list_users(request: Request) -> JSONResponse:
        limit = int(request.query_params["limit"])
        async with pool.statement(_LIST, {"param_1": limit + 1}) as found:
            rows: list[Row] = await found.fetchall()
        page = rows[:limit]
        next_cursor = encode_cursor(page[-1][0]) if len(rows) > limit else None
        return JSONResponse({"items": [_shown(row) for row in page], "next_cursor": next_cursor})

    async def create_user(request: Request) -> JSONResponse:
        new = await request.json()
        at = datetime.now(UTC)
        row: Row = (uuid7(), new["email"], new["name"], await hash_password(new["password"]), 1, at, at)
        columns = ("id", "email", "name", "password_hash", "version", "created_at", "updated_at")
        async with pool.statement(_INSERT, dict(zip(columns, row, strict=True))):
            return JSONResponse(_shown(row), status_code=201)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/users", list_users, methods=["GET"]),
            Route("/users", create_user, methods=["POST"]),
            Route("/users/{user_id}", get_user),
        ],
        lifespan=pool.opened,
    )


def _shown(row: Row) -> dict[str, Any]:
    return {
        "id": str(row[0]),
        "email": row[1],
        "name": row[2],
        "created_at": row[5].isoformat(),
        "updated_at": row[6].isoformat(),
        "version": row[4],
    }


def hashing() -> Hash:
    """Return a function that hashes like stage 2: Argon2id with the same parameters, in a thread."""
    hasher = PasswordHash((Argon2Hasher(memory_cost=47_104, time_cost=1, parallelism=1),))

    async def hash_password(password: str) -> str:
        return await run_in_threadpool(hasher.hash, password)

    return hash_password


def hashless() -> Hash:
    """Return a function that returns a text of the length of a hash."""

    async def hash_password(_: str) -> str:
        return "-" * 97

    return hash_password


if __name__ == "__main__":
    make = {"hashing": hashing, "hashless": hashless, "transaction": hashless}[sys.argv[1]]
    shared_pool = Pool(in_transaction=sys.argv[1] == "transaction")
    serve_handed_socket(bare_users(shared_pool, make()), sys.argv[2:])
