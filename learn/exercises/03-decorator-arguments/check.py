import pytest


def flaky(exercise, times, failures, error=ConnectionError):
    calls = []

    @exercise.retry(times=times)
    def fetch(url, *, limit=1):
        """Fetch a page."""
        calls.append(url)
        if len(calls) <= failures:
            raise error
        return url * limit

    return fetch, calls


def test_call_is_repeated(exercise):
    fetch, calls = flaky(exercise, times=3, failures=2)
    assert fetch("a") == "a"
    assert len(calls) == 3


def test_success_is_not_repeated(exercise):
    fetch, calls = flaky(exercise, times=3, failures=0)
    assert fetch("a", limit=2) == "aa"
    assert len(calls) == 1


def test_last_error_is_raised(exercise):
    fetch, calls = flaky(exercise, times=3, failures=9)
    with pytest.raises(ConnectionError):
        fetch("a")
    assert len(calls) == 3


def test_other_errors_are_not_repeated(exercise):
    fetch, calls = flaky(exercise, times=3, failures=9, error=ValueError)
    with pytest.raises(ValueError):  # noqa: PT011  any
        fetch("a")
    assert len(calls) == 1


def test_name_and_docstring_are_kept(exercise):
    fetch, _ = flaky(exercise, times=1, failures=0)
    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch a page.")
