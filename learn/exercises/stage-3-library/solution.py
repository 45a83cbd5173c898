"""Small project of stage 3: a library with authors, books and loans."""

from typing import Any

from sqlalchemy import CursorResult, ForeignKey, String, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True, index=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"), index=True)
    lent_to: Mapped[str | None]
    author: Mapped[Author] = relationship(back_populates="books")


def add_books(session: Session, author: str, titles: list[str]) -> None:
    """Add books of an author, and create the author if the name is new. The caller commits."""
    found = session.scalars(select(Author).where(Author.name == author)).one_or_none()
    if found is None:
        found = Author(name=author)
        session.add(found)
    found.books.extend(Book(title=title) for title in titles)


def shelf(session: Session) -> dict[str, list[str]]:
    """Return the titles of each author, both sorted, with two statements for any number of authors."""
    authors = session.scalars(select(Author).order_by(Author.name).options(selectinload(Author.books)))
    return {author.name: sorted(book.title for book in author.books) for author in authors}


def lend(session: Session, title: str, reader: str) -> bool:
    """Lend a book to a reader, with one UPDATE; return False if it is lent already, or not there."""
    result: CursorResult[Any] = session.execute(  # type: ignore[assignment]  # an UPDATE returns it
        update(Book).where(Book.title == title, Book.lent_to.is_(None)).values(lent_to=reader)
    )
    return result.rowcount == 1
