import itertools

import pytest


def test_success_commits(exercise):
    statements = []
    with exercise.transaction(statements):
        statements.append("INSERT")
    assert statements == ["BEGIN", "INSERT", "COMMIT"]


def test_error_rolls_back_and_goes_on(exercise):
    statements = []
    with pytest.raises(ZeroDivisionError), exercise.transaction(statements):
        statements.append(str(1 / 0))
    assert statements == ["BEGIN", "ROLLBACK"]


def test_block_is_measured(exercise):
    clock = itertools.count(10, 5)
    with exercise.Stopwatch(lambda: next(clock)) as watch:
        assert isinstance(watch, exercise.Stopwatch)
    assert watch.seconds == 5


def test_failed_block_is_measured_and_its_error_goes_on(exercise):
    clock = itertools.count(10, 5)
    watch = exercise.Stopwatch(lambda: next(clock))
    with pytest.raises(ZeroDivisionError), watch:
        print(1 / 0)
    assert watch.seconds == 5
