from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import TimeoutError as NoConnection


@pytest.fixture
def engine(exercise: ModuleType, tmp_path: Path) -> Iterator[Engine]:
    made = exercise.make_engine(f"sqlite:///{tmp_path / 'questions.db'}", 2)
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE questions (id INTEGER PRIMARY KEY, question TEXT, answer TEXT)"))
        connection.execute(text("INSERT INTO questions (question) VALUES ('What is SQL?')"))
    yield made
    made.dispose()


@pytest.mark.parametrize(("max_connections", "processes", "size"), [(100, 4, 24), (100, 1, 97), (13, 10, 1)])
def test_pools_fit_the_server(exercise: ModuleType, max_connections: int, processes: int, size: int) -> None:
    assert exercise.size_for_each_process(max_connections, processes) == size


def test_too_many_processes_are_an_error(exercise: ModuleType) -> None:
    with pytest.raises(ValueError, match=r".+"):
        exercise.size_for_each_process(100, 98)


def test_pool_has_a_limit_and_waits_briefly(engine: Engine) -> None:
    assert engine.pool.timeout() == 0.2
    with ExitStack() as borrowed:
        for _ in range(2):
            borrowed.enter_context(engine.connect())
        with pytest.raises(NoConnection):
            borrowed.enter_context(engine.connect())


def test_dead_connection_is_replaced(engine: Engine) -> None:
    with engine.connect() as connection:
        lent = connection.connection.dbapi_connection
    lent.close()  # as a restart of the server does
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_no_connection_is_held_while_the_model_is_asked(exercise: ModuleType, engine: Engine) -> None:
    held = []

    def ask_model(question: str) -> str:
        held.append(engine.pool.checkedout())
        return f"You asked: {question}"

    exercise.answer(engine, 1, ask_model)

    assert held == [0]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT answer FROM questions")) == "You asked: What is SQL?"
