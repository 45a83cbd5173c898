"""A peer of stage 2: its most used routes as the documentation of FastAPI and SQLModel writes them.

`python -m bench.documented_users plain` is that alone: `def` routes in threads, a `Session` as a dependency, separate
models for table, input and output, `pwdlib` for passwords. `… guarded` adds what stage 2 guarantees too, again as the
documentation does it: a check that a pooled connection is alive, a request id and a log line, allowed hosts, a limit on
the body.
"""

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from time import perf_counter
from typing import Annotated, ClassVar
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import EmailStr
from sqlalchemy import DateTime
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, Session, SQLModel, create_engine
from starlette.middleware.trustedhost import TrustedHostMiddleware
from uuid_utils.compat import uuid7

from bench.servers import serve_handed_socket

_MAX_BODY_BYTES = 1024 * 1024
_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class UserBase(SQLModel):
    """The fields that a client sends and receives."""

    email: EmailStr = Field(max_length=254)
    name: str = Field(min_length=1, max_length=100)


class UserCreate(UserBase):
    """A new user."""

    password: str = Field(min_length=8, max_length=128)


class UserPublic(UserBase):
    """A user without the password's hash."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    version: int


class User(UserBase, table=True):
    """A row of stage 2's table."""

    __tablename__: ClassVar[str] = "users"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    password_hash: str
    version: int = 1
    created_at: datetime = Field(default_factory=_now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=_now, sa_type=DateTime(timezone=True))


_guarded = sys.argv[1:2] == ["guarded"]
_engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"),
    pool_size=int(os.environ["DB_POOL_SIZE"]),
    pool_pre_ping=_guarded,
)
_password_hash = PasswordHash((Argon2Hasher(memory_cost=47_104, time_cost=1, parallelism=1),))  # as stage 2
app = FastAPI()


def get_session() -> Iterator[Session]:
    """Return a session for one request."""
    with Session(_engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


@app.get("/health")
def health() -> dict[str, str]:
    """Return that the process serves."""
    return {"status": "ok"}


@app.post("/users", status_code=201, response_model=UserPublic)
def create_user(user: UserCreate, session: SessionDep) -> User:
    """Create a user."""
    hashed = {"password_hash": _password_hash.hash(user.password)}
    db_user = User.model_validate(user, update=hashed)
    session.add(db_user)
    try:
        session.commit()
    except IntegrityError:
        raise HTTPException(status_code=409, detail="E-mail address taken") from None
    session.refresh(db_user)
    return db_user


@app.get("/users/{user_id}", response_model=UserPublic)
def read_user(user_id: UUID, session: SessionDep) -> User:
    """Return a user."""
    user = session.get(User, user_id)
    if not user:
        raise HTTPException(status_code=404, detail="User not found")
    return user


if _guarded:

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Limit the body, and give each request an id and a log line."""
        started, request_id = perf_counter(), request.headers.get("X-Request-ID") or uuid4().hex
        if int(request.headers.get("Content-Length") or 0) > _MAX_BODY_BYTES:
            return Response(status_code=413)
        response = await call_next(request)
        response.headers["X-Request-ID"] = request_id
        milliseconds = (perf_counter() - started) * 1000
        _log.info(
            "%s %s %s %s %.1f ms", request_id, request.method, request.url.path, response.status_code, milliseconds
        )
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    serve_handed_socket(app, sys.argv[2:])
