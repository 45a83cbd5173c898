from collections.abc import Iterator
from datetime import datetime
from types import ModuleType

import pytest
from sqlalchemy import Engine, create_engine, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session


@pytest.fixture
def engine(exercise: ModuleType) -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    exercise.Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_columns_have_the_right_types(engine: Engine) -> None:
    columns = {column["name"]: str(column["type"]) for column in inspect(engine).get_columns("users")}
    assert columns.pop("bio", None) in {"VARCHAR", "TEXT"}
    assert columns == {"id": "INTEGER", "email": "VARCHAR(254)", "name": "VARCHAR(100)", "created_at": "DATETIME"}


def test_only_the_bio_may_be_null(engine: Engine) -> None:
    assert [column["name"] for column in inspect(engine).get_columns("users") if column["nullable"]] == ["bio"]


def test_name_has_an_index(engine: Engine) -> None:
    indexed = [index["column_names"] for index in inspect(engine).get_indexes("users")]
    assert ["name"] in indexed


def test_email_is_unique(exercise: ModuleType, engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([exercise.User(email="ada@example.com", name=name) for name in ("Ada", "Eve")])
        with pytest.raises(IntegrityError):
            session.commit()


def test_database_sets_the_time(exercise: ModuleType, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(exercise.User(email="ada@example.com", name="Ada"))
        session.commit()
        user = session.scalars(select(exercise.User)).one()
        assert isinstance(user.created_at, datetime)
        assert user.bio is None
