"""Database failures as errors of the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from loguru import logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import DatabaseUnavailable

# SQLSTATEs, or their first two characters (https://www.postgresql.org/docs/current/errcodes-appendix.html), after which
# the same statement can succeed: connection exceptions, transaction rollback (deadlocks), insufficient resources,
# operator intervention, system errors; a lock that is not available; sessions that the server has ended.
_TRANSIENT = ("08", "40", "53", "57", "58", "55P03", "25P03", "25P04")
# Another connection is needed: the server is read-only (a standby, or a primary that was demoted), is shutting down or
# starting, or does not know a statement that was prepared on this connection, because a proxy has changed the server.
_LOST_SERVER = ("25006", "26000", "57P")
_QUERY_CANCELED = "57014"
_READ_ONLY = ("25006", "session is read-only", "server is in hot standby mode")  # the texts are libpq's


def has_lost_its_server(error: BaseException) -> bool:
    """Return whether an error shows that no statement will succeed on its connection, though it is open."""
    return _is_out_of_step(error) or str(getattr(error, "sqlstate", None)).startswith(_LOST_SERVER)


def _is_out_of_step(error: BaseException) -> bool:
    """Return whether the driver received unexpected answers, such as a pooler's last one after a COMMIT."""
    return isinstance(error, psycopg.InternalError) and error.sqlstate is None


def is_read_only(error: BaseException) -> bool:
    """Return whether an error says that the server, or each server of the address, is read-only."""
    cause = _cause(error)
    return getattr(cause, "sqlstate", None) == _READ_ONLY[0] or any(text in str(cause) for text in _READ_ONLY[1:])


def unavailable(error: BaseException) -> DatabaseUnavailable | None:
    """Return the service's error if the database is unreachable, read-only, frozen or overloaded; None otherwise."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseUnavailable("All connections are in use. Try again shortly.", retry_after=1)
    cause = _cause(error)
    if not isinstance(cause, psycopg.Error):
        return None
    state = cause.sqlstate
    if state == _QUERY_CANCELED:
        return DatabaseUnavailable("The database took too long.")
    if state is None and not (isinstance(cause, psycopg.OperationalError) or _is_out_of_step(cause)):
        return None
    if state is not None and not state.startswith(_TRANSIENT + _LOST_SERVER):
        return None
    reason = "read-only" if is_read_only(cause) else state or ""
    logger.warning("database unavailable: {} {}", type(cause).__name__, reason)
    return DatabaseUnavailable("The database cannot be reached. Try again shortly.")


def _cause(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise `DatabaseUnavailable` if the database is unreachable, read-only, frozen or overloaded, and others as is."""
    try:
        yield
    except (PoolTimeoutError, DBAPIError, psycopg.Error) as error:
        if failure := unavailable(error):
            raise failure from error
        raise
