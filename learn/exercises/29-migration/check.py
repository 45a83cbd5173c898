from collections.abc import Iterator
from types import ModuleType

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, create_engine, inspect, text


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"))
        connection.execute(text("INSERT INTO users (name) VALUES ('Ada')"))
        with Operations.context(MigrationContext.configure(connection)):
            yield connection
    engine.dispose()


def _columns(connection: Connection) -> list[str]:
    return [column["name"] for column in inspect(connection).get_columns("users")]


def test_revision_follows_the_first_one(exercise: ModuleType) -> None:
    assert (exercise.revision, exercise.down_revision) == ("0002", "0001")


def test_existing_rows_get_the_free_plan(exercise: ModuleType, connection: Connection) -> None:
    exercise.upgrade()
    assert connection.execute(text("SELECT name, plan FROM users")).all() == [("Ada", "free")]


def test_plan_is_required_and_indexed(exercise: ModuleType, connection: Connection) -> None:
    exercise.upgrade()
    column = next(column for column in inspect(connection).get_columns("users") if column["name"] == "plan")
    assert not column["nullable"]
    indexes = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes("users")}
    assert indexes == {"users_plan": ["plan"]}


def test_downgrade_undoes_the_upgrade(exercise: ModuleType, connection: Connection) -> None:
    exercise.upgrade()
    assert "plan" in _columns(connection)
    exercise.downgrade()
    assert _columns(connection) == ["id", "name"]
    assert inspect(connection).get_indexes("users") == []
    assert connection.execute(text("SELECT name FROM users")).scalar() == "Ada", (
        "the rows must survive / 原有的行不能丢"
    )


def test_upgrade_can_be_repeated_after_a_downgrade(exercise: ModuleType, connection: Connection) -> None:
    exercise.upgrade()
    exercise.downgrade()
    exercise.upgrade()
    assert "plan" in _columns(connection)
