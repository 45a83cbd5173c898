"""Database failures as errors of the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from loguru import logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import DatabaseUnavailable

# Transient SQLSTATE classes (https://www.postgresql.org/docs/current/errcodes-appendix.html): connection exceptions,
# transaction rollback (deadlocks), insufficient resources, operator intervention.
_TRANSIENT = ("08", "40", "53", "57")
_QUERY_CANCELED = "57014"


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise `DatabaseUnavailable` if the database is unreachable, frozen or overloaded. Other errors pass through."""
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("All connections are in use. Try again shortly.", retry_after=1) from error
    except (DBAPIError, psycopg.OperationalError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if state == _QUERY_CANCELED:
            raise DatabaseUnavailable("The database took too long.") from error
        if isinstance(cause, psycopg.OperationalError) and (state is None or state[:2] in _TRANSIENT):
            logger.warning("database unavailable: {} {}", type(cause).__name__, state or "")
            raise DatabaseUnavailable("The database cannot be reached. Try again shortly.") from error
        raise
