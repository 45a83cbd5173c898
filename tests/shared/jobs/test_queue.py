"""Jobs during an outage of the database."""

import asyncio
from typing import Any

import procrastinate
import psycopg
import pytest
from procrastinate.jobs import Status
from procrastinate.testing import InMemoryConnector

from shared.jobs.queue import PatientJobManager

OUTAGE = psycopg.errors.ReadOnlySqlTransaction("read-only")
NOT_RUNNING = psycopg.errors.RaiseException("Job was not found or not in doing")


class FailingConnector(InMemoryConnector):
    """Raises the given errors, one for each statement, before it succeeds."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def execute_query_async(self, query: str, **arguments: Any) -> None:  # noqa: ARG002  as in the base class
        """Fail, or do nothing."""
        if self.errors:
            raise procrastinate.exceptions.ConnectorException from self.errors.pop(0)


async def test_heartbeat_survives_an_outage() -> None:
    connector = FailingConnector(OUTAGE)

    await PatientJobManager(connector).update_heartbeat(1)

    assert connector.errors == []


async def test_no_job_is_aborted_during_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise procrastinate.exceptions.ConnectorException from OUTAGE

    connector = FailingConnector()
    monkeypatch.setattr(connector, "execute_query_all_async", fail)

    assert list(await PatientJobManager(connector).list_jobs_to_abort_async()) == []


@pytest.mark.parametrize("errors", [(OUTAGE, OUTAGE), (OUTAGE, NOT_RUNNING)])
async def test_outcome_of_a_job_is_stored_after_an_outage(errors: tuple[Exception, ...]) -> None:
    connector = FailingConnector(*errors)

    await PatientJobManager(connector).finish_job_by_id_async(1, Status.SUCCEEDED, True)

    assert connector.errors == []


async def test_stopping_process_does_not_wait_for_the_database() -> None:
    manager = PatientJobManager(FailingConnector(*(OUTAGE for _ in range(100))))
    storing = asyncio.create_task(manager.finish_job_by_id_async(1, Status.SUCCEEDED, True))
    await asyncio.sleep(0.1)

    manager.stopping = True

    with pytest.raises(procrastinate.exceptions.ConnectorException):
        await storing


async def test_other_errors_are_raised() -> None:
    manager = PatientJobManager(FailingConnector(NOT_RUNNING, psycopg.errors.UndefinedFunction("missing")))

    with pytest.raises(procrastinate.exceptions.ConnectorException):
        await manager.finish_job_by_id_async(1, Status.SUCCEEDED, True)
    with pytest.raises(procrastinate.exceptions.ConnectorException):
        await manager.update_heartbeat(1)
