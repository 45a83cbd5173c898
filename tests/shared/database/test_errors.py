"""Errors of the database: those after which the same request can succeed become 503."""

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from shared.database.errors import database_errors, has_lost_its_server, is_read_only
from shared.errors import DatabaseUnavailable


def error_of(sqlstate: str) -> psycopg.Error:
    """Return the driver's error for a SQLSTATE."""
    return psycopg.errors.lookup(sqlstate)("from the server")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "sqlstate",
    [
        *("08000", "08001", "08003", "08006", "08P01"),
        *("25006", "25P03", "25P04", "26000"),
        *("40001", "40P01"),
        *("53100", "53200", "53300"),
        *("55P03", "57014", "57P01", "57P02", "57P03", "57P05", "58000", "58030"),
    ],
)
def test_temporary_failure_is_unavailable(sqlstate: str, wrapped: bool) -> None:
    error: Exception = error_of(sqlstate)
    if wrapped:
        error = DBAPIError("SELECT", {}, error)

    with pytest.raises(DatabaseUnavailable) as caught, database_errors():
        raise error

    assert int((caught.value.headers or {})["Retry-After"]) > 0


@pytest.mark.parametrize("sqlstate", ["22001", "23505", "42P01", "42601", "54000", "XX000"])
def test_permanent_failure_passes_through(sqlstate: str) -> None:
    error = error_of(sqlstate)

    with pytest.raises(type(error)), database_errors():
        raise error


def test_connection_is_given_up_if_its_server_is_read_only_or_ends() -> None:
    assert all(has_lost_its_server(error_of(state)) for state in ("25006", "26000", "57P01", "57P02", "57P03"))
    assert not any(has_lost_its_server(error_of(state)) for state in ("23505", "40001", "55P03", "57014"))


def test_connection_with_answers_that_the_driver_does_not_expect_is_given_up() -> None:
    error = psycopg.InternalError("received 2 results from command 'COMMIT'")

    assert has_lost_its_server(error)
    with pytest.raises(DatabaseUnavailable), database_errors():
        raise error


def test_read_only_server_is_recognised_before_and_after_connecting() -> None:
    assert is_read_only(DBAPIError("INSERT", {}, error_of("25006")))
    assert is_read_only(psycopg.OperationalError("connection failed: session is read-only"))
    assert not is_read_only(psycopg.OperationalError("failed to resolve host 'read-only.example'"))
