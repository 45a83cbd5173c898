"""Define the table `users`: each annotated attribute is a column."""

from datetime import datetime

from sqlalchemy import String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class User(Base):
    """A person who can sign in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    # TODO: `email`, at most 254 characters, required and unique
    # TODO: `name`, at most 100 characters, required, with an index
    # TODO: `bio`, a text that may be NULL
    # TODO: `created_at`, a `datetime` that the database sets with `func.now()`
