import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import ModuleType

import pytest

_USER = {"user_id": 7}


@pytest.fixture
def database(exercise: ModuleType) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(exercise.SCHEMA)
        yield database


def test_plan_without_an_index_scans_and_sorts(exercise: ModuleType, database: sqlite3.Connection) -> None:
    steps = exercise.plan(database, exercise.LATEST, _USER)
    assert [step.split()[0] for step in steps] == ["SCAN", "USE"]
    assert not exercise.is_cheap(steps)


def test_index_on_one_column_still_sorts(exercise: ModuleType, database: sqlite3.Connection) -> None:
    database.execute("CREATE INDEX half ON messages (user_id)")
    steps = exercise.plan(database, exercise.LATEST, _USER)
    assert any("half" in step for step in steps)
    assert not exercise.is_cheap(steps)


def test_your_index_finds_and_sorts(exercise: ModuleType, database: sqlite3.Connection) -> None:
    database.execute(exercise.INDEX)
    steps = exercise.plan(database, exercise.LATEST, _USER)
    assert len(steps) == 1
    assert "USING INDEX" in steps[0], steps
    assert exercise.is_cheap(steps), steps
