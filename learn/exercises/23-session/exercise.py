"""Give each request a session of its own, and commit before the response is sent."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import StaticPool

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
sessions = sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class User(Base):
    """A person with a unique name."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


def get_session() -> Iterator[Session]:
    """Yield a session for one request, and close it afterwards, also after an error."""
    # TODO: this session is never closed, so its connection never returns to the pool
    #       这个 Session 一直没有关闭，它的连接永远回不到连接池
    yield sessions()


@app.post("/users/{name}", status_code=201)
def create_user(name: str, session: Annotated[Session, Depends(get_session)]) -> dict[str, int | str]:
    """Store a user, or answer 409 if the name is taken."""
    user = User(name=name)
    session.add(user)
    # TODO: commit; on an IntegrityError roll back and raise HTTPException(409)
    #       提交；遇到 IntegrityError 就回滚，并抛出 HTTPException(409)
    return {"id": user.id, "name": user.name}


@app.get("/users")
def list_users(session: Annotated[Session, Depends(get_session)]) -> list[str]:
    """Return the names of all users."""
    return list(session.scalars(select(User.name).order_by(User.name)))
