"""Load users with their messages in two statements, however many users there are."""

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class User(Base):
    """A user whose messages are loaded only on request."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    messages: Mapped[list["Message"]] = relationship(order_by="Message.id")


class Message(Base):
    """A message of one user."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)


def users_with_messages(session: Session, prefix: str) -> list[User]:
    """Return the users whose name begins with `prefix`, by name, with their messages loaded."""
    # TODO: filter, order, and load the messages of all these users in one more statement
    #       过滤、排序，并且只多用一条语句加载所有这些用户的消息
    return list(session.scalars(select(User)))
