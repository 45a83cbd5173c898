from collections.abc import Iterator
from types import ModuleType

import pytest
from sqlalchemy import Engine, create_engine, event, func, inspect, select
from sqlalchemy.orm import Session


@pytest.fixture
def engine(exercise: ModuleType) -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    # SQLite checks foreign keys only on request; PostgreSQL always does.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    exercise.Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_foreign_key_cascades(engine: Engine) -> None:
    keys = inspect(engine).get_foreign_keys("messages")
    assert [(key["constrained_columns"], key["referred_table"]) for key in keys] == [(["user_id"], "users")]
    assert keys[0]["options"].get("ondelete") == "CASCADE"


def test_foreign_key_has_an_index(engine: Engine) -> None:
    assert ["user_id"] in [index["column_names"] for index in inspect(engine).get_indexes("messages")]


def test_both_ends_are_kept_in_step(exercise: ModuleType) -> None:
    user = exercise.User(name="Ada")
    message = exercise.Message(text="Hello")
    user.messages.append(message)
    assert message.user is user


def test_messages_are_saved_with_their_user_and_ordered(exercise: ModuleType, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(
            exercise.User(name="Ada", messages=[exercise.Message(id=2, text="b"), exercise.Message(id=1, text="a")])
        )
        session.commit()
        user = session.scalars(select(exercise.User)).one()
        assert [message.text for message in user.messages] == ["a", "b"]


def test_messages_are_deleted_with_their_user(exercise: ModuleType, engine: Engine) -> None:
    with Session(engine) as session:
        user = exercise.User(name="Ada", messages=[exercise.Message(text="a")])
        session.add(user)
        session.commit()
        session.delete(user)
        session.commit()
        assert session.scalar(select(func.count()).select_from(exercise.Message)) == 0
