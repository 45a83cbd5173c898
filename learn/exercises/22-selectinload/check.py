from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

_NAMES = ["Cid", "Ada", "Bob", "Ann", "A_z"]


@pytest.fixture
def statements() -> list[str]:
    return []


@pytest.fixture
def session(exercise: ModuleType, statements: list[str]) -> Iterator[Session]:
    engine = create_engine("sqlite://")
    exercise.Base.metadata.create_all(engine)
    with Session(engine) as session:
        for name in _NAMES:
            messages = [exercise.Message(text=f"{name} {number}") for number in range(3)]
            session.add(exercise.User(name=name, messages=messages))
        session.commit()

        def record(_1: Any, _2: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        event.listen(engine, "before_cursor_execute", record)
        yield session
    engine.dispose()


def test_users_are_filtered_and_ordered(exercise: ModuleType, session: Session) -> None:
    assert [user.name for user in exercise.users_with_messages(session, "A")] == ["A_z", "Ada", "Ann"]


def test_messages_need_one_more_statement_for_all_users(
    exercise: ModuleType, session: Session, statements: list[str]
) -> None:
    users = exercise.users_with_messages(session, "")
    texts = [[message.text for message in user.messages] for user in users]
    assert texts[0] == ["A_z 0", "A_z 1", "A_z 2"]
    assert len(statements) <= 2, (
        f"{len(users)} users took {len(statements)} statements: the N+1 problem / 语句数随用户数增长：N+1 问题"
    )


def test_underscore_is_no_wildcard(exercise: ModuleType, session: Session) -> None:
    assert [user.name for user in exercise.users_with_messages(session, "A_")] == ["A_z"]
