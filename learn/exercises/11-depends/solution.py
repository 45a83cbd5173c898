"""Dependencies: what a handler needs, given to it for one request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header

app = FastAPI()
EVENTS: list[str] = []


class Connection:
    """Stands for a connection to a database."""

    def __init__(self) -> None:
        EVENTS.append("open")

    def close(self) -> None:
        EVENTS.append("close")

    def user_of(self, token: str) -> str | None:
        return {"secret": "ada"}.get(token)


async def get_connection() -> AsyncIterator[Connection]:
    connection = Connection()
    try:
        yield connection
    finally:
        connection.close()


async def get_user(
    connection: Annotated[Connection, Depends(get_connection)], x_token: Annotated[str, Header()]
) -> str | None:
    return connection.user_of(x_token)


@app.get("/me")
async def me(
    user: Annotated[str | None, Depends(get_user)], connection: Annotated[Connection, Depends(get_connection)]
) -> dict[str, str | bool | None]:
    return {"user": user, "connected": isinstance(connection, Connection)}
