"""Link users and their messages: one foreign key in the database, two attributes in Python."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class User(Base):
    """The "one" side."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    messages: Mapped[list["Message"]] = relationship(
        back_populates="user", order_by="Message.id", cascade="all, delete-orphan", passive_deletes=True
    )


class Message(Base):
    """The "many" side."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    user: Mapped[User] = relationship(back_populates="messages")
