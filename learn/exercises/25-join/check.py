import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import ModuleType

import pytest


@pytest.fixture
def database(exercise: ModuleType) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(exercise.SCHEMA)
        database.executemany("INSERT INTO users VALUES (?, ?)", [(1, "Bob"), (2, "Ada"), (3, "Cid"), (4, "Ada")])
        messages = [(1, 2, "Hello"), (2, 1, "Hi"), (3, 2, "How are you?"), (4, 4, "Good morning")]
        database.executemany("INSERT INTO messages VALUES (?, ?, ?)", messages)
        yield database


def test_each_message_has_its_author(exercise: ModuleType, database: sqlite3.Connection) -> None:
    rows = database.execute(exercise.MESSAGES_WITH_NAMES).fetchall()
    assert rows == [("Ada", "Hello"), ("Bob", "Hi"), ("Ada", "How are you?"), ("Ada", "Good morning")]


def test_users_without_messages_are_counted_too(exercise: ModuleType, database: sqlite3.Connection) -> None:
    rows = database.execute(exercise.MESSAGES_PER_USER).fetchall()
    assert sorted(rows) == [("Ada", 1), ("Ada", 2), ("Bob", 1), ("Cid", 0)], (
        "two users may have the same name / 两个用户可以同名"
    )
    assert [name for name, _ in rows] == ["Ada", "Ada", "Bob", "Cid"]


@pytest.mark.parametrize(("minimum", "names"), [(1, ["Ada", "Ada", "Bob"]), (2, ["Ada"]), (3, [])])
def test_busy_users_are_filtered_after_counting(
    exercise: ModuleType, database: sqlite3.Connection, minimum: int, names: list[str]
) -> None:
    assert [name for (name,) in database.execute(exercise.BUSY_USERS, {"minimum": minimum})] == names
