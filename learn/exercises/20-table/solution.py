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
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    bio: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
