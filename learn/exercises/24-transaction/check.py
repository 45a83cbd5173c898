from collections.abc import Iterator
from types import ModuleType

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.orm import Session, sessionmaker

Sessions = sessionmaker[Session]


@pytest.fixture
def sessions(exercise: ModuleType) -> Iterator[Sessions]:
    engine = create_engine("sqlite://")
    exercise.Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    with sessions.begin() as session:
        session.add_all([exercise.Account(name="ada", credits=10), exercise.Account(name="bob", credits=0)])
    yield sessions
    engine.dispose()


def _credits(exercise: ModuleType, sessions: Sessions) -> list[int]:
    with sessions() as session:
        return [session.get_one(exercise.Account, name).credits for name in ("ada", "bob")]


def test_credits_are_moved(exercise: ModuleType, sessions: Sessions) -> None:
    exercise.transfer(sessions, "ada", "bob", 4)
    assert _credits(exercise, sessions) == [6, 4]


def test_both_changes_are_one_transaction(exercise: ModuleType, sessions: Sessions) -> None:
    commits = []
    event.listen(sessions.kw["bind"], "commit", lambda _: commits.append(1))
    exercise.transfer(sessions, "ada", "bob", 4)
    assert len(commits) == 1


def test_nothing_is_moved_if_the_source_has_too_few_credits(exercise: ModuleType, sessions: Sessions) -> None:
    with pytest.raises(IntegrityError):
        exercise.transfer(sessions, "ada", "bob", 11)
    assert _credits(exercise, sessions) == [10, 0]


def test_nothing_is_moved_from_an_unknown_account(exercise: ModuleType, sessions: Sessions) -> None:
    with pytest.raises(NoResultFound):
        exercise.transfer(sessions, "eve", "bob", 1)
    assert _credits(exercise, sessions) == [10, 0]


@pytest.mark.parametrize("amount", [0, -3])
def test_amount_must_be_positive(exercise: ModuleType, sessions: Sessions, amount: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        exercise.transfer(sessions, "ada", "bob", amount)
    assert _credits(exercise, sessions) == [10, 0]
