"""Small project of stage 3: a library with authors, books and loans."""

from sqlalchemy import String, create_engine  # noqa: F401  you need them
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship  # noqa: F401  you need them


class Base(DeclarativeBase):
    pass


# TODO: Author, table `authors`: `id`, and `name` of at most 100 characters with a unique index. `books`: its books, which are
#       deleted with it.
#       Author，表名 authors：id；name 最多 100 个字符，带唯一索引；books 是他的书，随作者一起删除。
# TODO: Book, table `books`: `id`, `title`, `author_id` with an index, and `lent_to`, a name or NULL. `author`: the other side.
#       Book，表名 books：id、title、带索引的 author_id、lent_to（名字或 NULL）；author 是关系的另一端。


def add_books(session: Session, author: str, titles: list[str]) -> None:
    """Add books of an author, and create the author if the name is new. The caller commits."""
    # TODO: look for the author; add a new one only if there is none
    #       先找作者，没有才新建
    raise NotImplementedError


def shelf(session: Session) -> dict[str, list[str]]:
    """Return the titles of each author, both sorted, with two statements for any number of authors."""
    # TODO: load the books of all authors with `selectinload`
    #       用 selectinload 一次加载所有作者的书
    raise NotImplementedError


def lend(session: Session, title: str, reader: str) -> bool:
    """Lend a book to a reader, with one UPDATE; return False if it is lent already, or not there."""
    # TODO: the condition is in the WHERE: of two readers at the same time only one gets it
    #       条件写在 WHERE 里：两个读者同时来借，只有一个能借到
    raise NotImplementedError
