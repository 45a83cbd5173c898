"""Schedules on real processes: made at each of their times, once, whichever worker is up."""

import signal
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.receiver import receiving
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    settings = {"lease_seconds": "2", "webhook_allow_private": "true", "cron_interval_seconds": "0"}
    with agent_service(database_url, redis_url, model, GRAPHS, **settings) as running:
        yield running


async def test_due_time_creates_one_run(service: AgentService) -> None:
    service.start_worker()
    headers = service.sign_up()
    async with get_client(url=service.url, api_key=None, headers=headers) as client:
        with receiving() as receiver:
            thread_id = (await client.threads.create())["thread_id"]
            cron: Any = await client.crons.create_for_thread(
                thread_id, "talk", schedule="* * * * * *", input=said("tick"), webhook=receiver.url
            )
            await until(lambda: receiver.calls >= 3)
            service.workers[0].send_signal(signal.SIGKILL)
            before = receiver.calls
            await until(lambda: receiver.calls >= before + 3)
            service.workers[1].terminate()  # for a while there is none
            service.workers[1].wait(120)
            service.start_worker()
            after = receiver.calls
            await until(lambda: receiver.calls >= after + 2)
            await client.crons.delete(cron["cron_id"])

            runs = await client.runs.list(thread_id, limit=1000)
            moments = [datetime.fromisoformat(str(run["created_at"])).replace(microsecond=0) for run in runs]
            assert len(set(moments)) == len(moments)
            assert all(run["metadata"]["cron_id"] == cron["cron_id"] for run in runs)  # type: ignore[index]  # it has some
            untold = {run["run_id"] for run in runs}
            while untold:  # a run whose worker died may be reported twice
                untold.discard((await receiver.received())["run_id"])
