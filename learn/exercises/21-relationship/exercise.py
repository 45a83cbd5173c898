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
    # TODO: `messages`, a list of Message, ordered by id, whose items are deleted with the user
    #       messages：Message 列表，按 id 排序，随用户一起删除


class Message(Base):
    """The "many" side."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    # TODO: `user_id`, a foreign key to users.id, ON DELETE CASCADE, with an index
    #       user_id：指向 users.id 的外键，ON DELETE CASCADE，带索引
    # TODO: `user`, the other end of `User.messages`
    #       user：User.messages 的另一端
