"""Middleware: code around every request; and a value that follows a request."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from fastapi import Depends, FastAPI, Request, Response

app = FastAPI()
request_id: ContextVar[str] = ContextVar("request_id", default="-")
LINES: list[str] = []


def log(text: str) -> None:
    """Stands for a logger: each line has the identifier of its request."""
    LINES.append(f"{request_id.get()} {text}")


@app.middleware("http")
async def set_request_id(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    identifier = request.headers.get("x-request-id", "new")
    token = request_id.set(identifier)
    try:
        response = await call_next(request)
    finally:
        request_id.reset(token)
    response.headers["X-Request-ID"] = identifier
    return response


async def require_key(request: Request) -> None:
    """Refuse a request without a key. This concerns some routes only, so it is a dependency."""
    log(f"key {request.headers.get('x-api-key', 'missing')}")


@app.get("/health")
async def health() -> str:
    log("health")
    return "ok"


@app.get("/answers", dependencies=[Depends(require_key)])
async def answers() -> list[str]:
    log("answers")
    return []
