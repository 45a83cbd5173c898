import pytest
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session


@pytest.fixture
def engine(exercise):
    engine = create_engine("sqlite://")
    exercise.Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        yield session


def test_tables_have_their_columns_and_indexes(engine):
    inspector = inspect(engine)
    assert set(inspector.get_table_names()) == {"authors", "books"}
    columns = {column["name"]: column for column in inspector.get_columns("books")}
    assert set(columns) == {"id", "title", "author_id", "lent_to"}
    assert [name for name, column in columns.items() if column["nullable"]] == ["lent_to"]
    assert any(index["column_names"] == ["author_id"] for index in inspector.get_indexes("books"))
    assert inspector.get_foreign_keys("books")[0]["referred_table"] == "authors"


def test_books_are_added_to_one_author(exercise, session):
    exercise.add_books(session, "Le Guin", ["The Dispossessed"])
    exercise.add_books(session, "Le Guin", ["A Wizard of Earthsea"])
    session.commit()
    assert exercise.shelf(session) == {"Le Guin": ["A Wizard of Earthsea", "The Dispossessed"]}


def test_caller_decides_about_the_transaction(exercise, session):
    exercise.add_books(session, "Lem", ["Solaris"])
    session.rollback()
    assert exercise.shelf(session) == {}


def test_name_of_an_author_is_unique(exercise, session):
    session.add_all([exercise.Author(name="Lem"), exercise.Author(name="Lem")])
    with pytest.raises(IntegrityError):
        session.flush()


def test_shelf_takes_two_statements(exercise, engine, session):
    for number in range(5):
        exercise.add_books(session, f"author {number}", ["a", "b"])
    session.commit()
    session.expunge_all()
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert len(exercise.shelf(session)) == 5
    assert len(statements) == 2, "one query per author is the N+1 problem / 每个作者一条查询就是 N+1 问题"


def test_books_are_deleted_with_their_author(exercise, session):
    exercise.add_books(session, "Lem", ["Solaris"])
    session.commit()
    session.delete(session.get(exercise.Author, 1))
    session.commit()
    assert session.get(exercise.Book, 1) is None


def test_book_is_lent_once(exercise, engine, session):
    exercise.add_books(session, "Lem", ["Solaris"])
    session.commit()
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2].split()[0]))
    assert exercise.lend(session, "Solaris", "Ada") is True
    assert exercise.lend(session, "Solaris", "Bob") is False
    assert exercise.lend(session, "Fiasco", "Bob") is False
    assert set(statements) == {"UPDATE"}, "reading first and then writing is a race / 先读后写是竞态"
    session.expire_all()
    assert session.get(exercise.Book, 1).lent_to == "Ada"
