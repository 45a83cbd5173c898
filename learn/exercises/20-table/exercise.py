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
    #       email：最长 254 个字符，必填，唯一
    # TODO: `name`, at most 100 characters, required, with an index
    #       name：最长 100 个字符，必填，带索引
    # TODO: `bio`, a text that may be NULL
    #       bio：文本，可以为 NULL
    # TODO: `created_at`, a `datetime` that the database sets with `func.now()`
    #       created_at：datetime，由数据库用 func.now() 填写
