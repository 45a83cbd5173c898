"""A database that fails: a deadline, 503 instead of 500, a new connection afterwards, and no statement twice."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol

from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse


class Connection(Protocol):
    async def execute(self, statement: str) -> Sequence[str]: ...


class Unavailable(Exception):
    """The database cannot be reached, or does not answer."""


class Database:
    """One connection, created on demand; connecting and executing together have a deadline."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], seconds: float) -> None:
        self._connect = connect
        self._seconds = seconds
        self._connection: Connection | None = None

    async def execute(self, statement: str) -> Sequence[str]:
        """Execute a statement.

        Raises:
            Unavailable: The connection failed (an OSError), or connecting and executing took too long.
        """
        try:
            async with asyncio.timeout(self._seconds):
                if self._connection is None:
                    self._connection = await self._connect()
                return await self._connection.execute(statement)
        except OSError as error:  # TimeoutError is one
            self._connection = None
            raise Unavailable from error


def create_app(database: Database) -> FastAPI:
    """Return an application that reads and writes notes."""
    app = FastAPI()

    @app.exception_handler(Unavailable)
    async def respond(request: Request, error: Unavailable) -> JSONResponse:
        return JSONResponse({"title": "Database unavailable", "status": 503}, 503, headers={"Retry-After": "5"})

    @app.get("/notes")
    async def list_notes() -> Sequence[str]:
        return await database.execute("SELECT text FROM notes")

    @app.post("/notes", status_code=201)
    async def create_note(text: Annotated[str, Body(embed=True)]) -> None:
        await database.execute("INSERT INTO notes (text) VALUES ($1)")

    return app
