"""Webhooks on real processes: called for every end, once it is stored, even if the worker dies or the thread."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.receiver import receiving
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
def serve(database_url: str, redis_url: str, model: ScriptedModel) -> Callable[..., Any]:
    """Runs the service with a short lease and changed settings; private addresses are allowed by default."""

    @contextmanager
    def serve(**settings: str) -> Iterator[AgentService]:
        fixed = {"lease_seconds": "2", "webhook_allow_private": "true"}
        with agent_service(database_url, redis_url, model, GRAPHS, **(fixed | settings)) as running:
            yield running

    return serve


@pytest.fixture
def service(serve: Callable[..., Any]) -> Iterator[AgentService]:
    with serve() as service:
        yield service


@pytest.fixture
async def client(service: AgentService) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=service.url, api_key=None, headers=service.sign_up()) as client:
        yield client


def left(database_url: str) -> int:
    """How many calls are still to be made."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT (SELECT count(*) FROM webhooks) + (SELECT count(*) FROM procrastinate_jobs)")
        ((count,),) = found.fetchall()
    return int(count)


def sleeps(log: Path, seconds: float = 60) -> dict[str, Any]:
    """The input with which `steps` goes on for long."""
    return {"steps": 2, "seconds": seconds, "log": str(log)}


async def test_every_end_calls_the_webhook(client: LangGraphClient, database_url: str, tmp_path: Path) -> None:
    with receiving() as receiver:
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(
            thread_id, "talk", input=said("one"), webhook=receiver.url, metadata={"m": "\u00e9"}
        )
        told = await receiver.received()
        shown: Any = await client.runs.get(thread_id, run["run_id"])
        assert {name: told[name] for name in shown} == shown
        assert (told["status"], told["metadata"]["m"]) == ("success", "\u00e9")
        assert [message["content"] for message in told["values"]["messages"]] == ["one", "1: one"]
        moments = [datetime.fromisoformat(told[name]) for name in ("run_started_at", "run_ended_at", "webhook_sent_at")]
        assert moments == sorted(moments)
        assert "error" not in told
        assert told["path"] == "/hook/?token=s3cret"
        assert (receiver.heads[0]["Content-Type"], "Authorization" in receiver.heads[0]) == ("application/json", False)

        await client.runs.wait(
            thread_id, "steps", input=sleeps(Path("/no/where")), webhook=receiver.url, raise_error=False
        )
        told = await receiver.received()
        assert told["status"] == "error"
        assert told["error"] == {"error": "FileNotFoundError", "message": "An internal error occurred"}

        log = tmp_path / "log"
        run = await client.runs.create(thread_id, "steps", input=sleeps(log), webhook=receiver.url)
        waiting = await client.runs.create(thread_id, "talk", input=said("two"), webhook=receiver.url)
        await until(log.exists)
        await client.runs.cancel(thread_id, waiting["run_id"])
        told = await receiver.received()
        assert (told["run_id"], told["status"], told["run_started_at"]) == (waiting["run_id"], "interrupted", None)
        await client.runs.cancel(thread_id, run["run_id"])
        told = await receiver.received()
        assert (told["run_id"], told["status"]) == (run["run_id"], "interrupted")

        await client.runs.wait(None, "talk", input=said("alone"), webhook=receiver.url)
        told = await receiver.received()
        assert [message["content"] for message in told["values"]["messages"]] == ["alone", "1: alone"]

        asked: Any = await client.runs.wait(thread_id, "ask", input=said("Tea?"), webhook=receiver.url)
        assert "__interrupt__" in asked
        assert (await receiver.received())["status"] == "success"

        await client.runs.wait(thread_id, "talk", input=said("no webhook is called"))
        run = await client.runs.create(thread_id, "steps", input=sleeps(log), webhook=receiver.url)
        await client.runs.cancel(thread_id, run["run_id"], wait=True, action="rollback")  # as if it had never been
        await until(lambda: left(database_url) == 0)
        assert receiver.calls == 6


async def test_timed_out_run_calls_the_webhook(serve: Callable[..., Any], tmp_path: Path) -> None:
    with serve(run_timeout_seconds="0.5") as service, receiving() as receiver:
        async with get_client(url=service.url, api_key=None, headers=service.sign_up()) as client:
            await client.runs.create(None, "steps", input=sleeps(tmp_path / "log"), webhook=receiver.url)
            told = await receiver.received()
    assert (told["status"], told["error"]["error"]) == ("timeout", "TimeoutError")


async def test_webhook_survives_a_dead_worker(
    service: AgentService, client: LangGraphClient, database_url: str
) -> None:
    with receiving(503, 204) as receiver:
        thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread_id, "talk", input=said("one"), webhook=receiver.url)
        first = await receiver.received()  # it was answered with 503
        service.workers[0].send_signal(signal.SIGKILL)
        await client.threads.delete(thread_id)
        service.start_worker()

        again = await receiver.received()
        assert again["values"] == first["values"]
        await until(lambda: left(database_url) == 0)


async def test_abandoned_run_calls_the_webhook(serve: Callable[..., Any], tmp_path: Path) -> None:
    with serve(run_attempts="1") as service, receiving() as receiver:
        async with get_client(url=service.url, api_key=None, headers=service.sign_up()) as client:
            log = tmp_path / "log"
            await client.runs.create(None, "steps", input=sleeps(log), webhook=receiver.url, on_completion="keep")
            await until(log.exists)
            service.workers[0].send_signal(signal.SIGKILL)
            service.start_worker()
            told = await receiver.received()
    assert (told["status"], told["error"]["error"]) == ("error", "WorkerLost")


async def test_webhook_is_abandoned_and_never_logged(
    serve: Callable[..., Any], database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(webhook_attempts="2") as service, receiving(307) as receiver:
        async with get_client(url=service.url, api_key=None, headers=service.sign_up()) as client:
            await client.runs.create(None, "talk", input=said("my s3cret"), webhook=receiver.url)
            await asyncio.gather(receiver.received(), receiver.received())
            await until(lambda: left(database_url) == 0)
            assert receiver.calls == 2  # no redirect was followed
    logged = capfd.readouterr().err
    assert "is not called again: it responded with status 307" in logged
    assert "s3cret" not in logged


async def test_private_addresses_are_not_called(
    serve: Callable[..., Any], database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(webhook_allow_private="false") as service, receiving() as receiver:
        async with get_client(url=service.url, api_key=None, headers=service.sign_up()) as client:
            for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
                await client.runs.wait(None, "talk", input=said("one"), webhook=url)
            await until(lambda: left(database_url) == 0)
        assert receiver.calls == 0
    assert capfd.readouterr().err.count("is not called again: its address is not public") == 2


async def test_invalid_webhook_address_is_rejected(client: LangGraphClient) -> None:
    for url in (
        "ftp://example.com/",
        "http://",
        "/hook",
        "http://user:secret@example.com/",
        "http://example.com:99999/",
        "http://[::1/",
    ):
        with pytest.raises(UnprocessableEntityError):
            await client.runs.create(None, "talk", input=said("one"), webhook=url)
