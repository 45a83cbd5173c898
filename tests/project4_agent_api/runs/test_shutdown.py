"""The effect of a stop signal on open requests and on executing runs."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.agent_service import PACKAGE, AgentService, agent_service
from tests.support.databases import Databases
from tests.support.processes import served
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """An API and a worker that end quickly."""
    settings = {"drain_seconds": "0", "shutdown_timeout_seconds": "1", "sign_ins_per_minute": "1000"}
    with (
        databases.migrated("project4_agent_api") as database_url,
        agent_service(database_url, _redis_server, _model_server, GRAPHS, **settings) as service,
    ):
        yield service


@pytest.fixture
def ending(service: AgentService) -> Iterator[subprocess.Popen[bytes]]:
    """Its worker, which a test ends. After the test another one works."""
    worker = service.workers.pop()
    yield worker
    worker.terminate()
    worker.wait(120)
    if not service.workers:
        service.start_worker()


def steps(folder: Path, number: int, seconds: float) -> dict[str, Any]:
    return {
        "assistant_id": "steps",
        "input": {"steps": number, "seconds": seconds, "log": str(folder / "log")},
        "stream_mode": ["custom"],
        "on_disconnect": "cancel",
    }


class Reader:
    """Reads a stream of numbered events, and remembers where it is."""

    def __init__(self) -> None:
        self.last = ""
        self.said: list[int] = []

    def read(self, lines: Iterator[str], until: int) -> None:
        """Read on until a step."""
        event = ""
        for line in lines:
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "id":
                self.last = value
            elif name == "data" and event == "custom":
                self.said.append(json.loads(value)["step"])
                if self.said[-1] == until:
                    return


def test_stopping_api_hands_over_its_clients(service: AgentService, tmp_path: Path) -> None:
    headers = service.sign_up()
    reader = Reader()
    with (
        served(PACKAGE, {**service.environment, "DRAIN_SECONDS": "5"}) as (url, ending),
        httpx2.Client(base_url=url, timeout=120, trust_env=False, headers=headers) as http,
        httpx2.Client(base_url=service.url, timeout=120, trust_env=False, headers=headers) as elsewhere,
    ):
        thread = http.post("/threads", json={}).raise_for_status().json()["thread_id"]
        asked = steps(tmp_path, 15, 0.7)  # longer than it takes the API to end
        with http.stream("POST", f"/threads/{thread}/runs/stream", json=asked) as response:
            lines, location = response.iter_lines(), response.headers["location"]
            reader.read(lines, until=0)
            ending.send_signal(signal.SIGTERM)
            refused = http.post(f"/threads/{thread}/runs", json=asked)
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:problem:not-ready")
            assert refused.headers["retry-after"] == "1"
            ready = http.get("/ready")
            assert (ready.status_code, ready.json()["type"]) == (503, "urn:problem:not-ready")
            assert http.get("/health").status_code == 200
            assert http.get(f"/threads/{thread}").status_code == 200
            with pytest.raises(httpx2.RemoteProtocolError):  # it is not over: a client must not take it for that
                reader.read(lines, until=14)
        assert ending.wait(120) == 0
        with elsewhere.stream("GET", location, headers={"Last-Event-ID": reader.last}) as response:
            reader.read(response.iter_lines(), until=14)
        assert reader.said == list(range(15))
        run = elsewhere.get(f"/threads/{thread}/runs").json()[0]["run_id"]
        assert len(elsewhere.get(f"/threads/{thread}/runs/{run}/join").json()["done"]) == 15


async def test_stopping_worker_requeues_its_runs(
    service: AgentService, ending: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False, headers=service.sign_up()) as http:
        run = http.post("/runs", json=steps(tmp_path, 8, 0.7) | {"on_completion": "keep"}).raise_for_status().json()
        await until(lambda: len(log.read_text().splitlines()) >= 2, 60)
        ending.send_signal(signal.SIGTERM)
        assert ending.wait(120) == 0
        assert stored(service, run["run_id"]) == {"status": "pending", "failures": 0, "attempt": 1, "claim": None}
        service.start_worker()
        joined = http.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join").raise_for_status().json()
    assert joined["done"] == list(range(8))
    assert [int(line.split()[0]) for line in log.read_text().splitlines()] == list(range(8))  # none was taken twice


async def test_slow_step_is_cancelled_at_shutdown(
    service: AgentService, ending: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False, headers=service.sign_up()) as http:
        run = http.post("/runs", json=steps(tmp_path, 1, 3600) | {"on_completion": "keep"}).raise_for_status().json()
        await until(lambda: len(log.read_text().splitlines()) == 1, 60)
        ending.send_signal(signal.SIGTERM)
        assert ending.wait(120) == 0
        assert stored(service, run["run_id"]) == {"status": "pending", "failures": 0, "attempt": 1, "claim": None}
        cancelled = http.post(f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel")
        assert cancelled.status_code == 202


async def test_graph_in_events_mode_has_time_to_finish(
    service: AgentService, ending: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    ending.terminate()
    assert ending.wait(120) == 0
    patient = service.start_worker(SHUTDOWN_TIMEOUT_SECONDS="120")
    log = tmp_path / "log"
    log.touch()
    asked = steps(tmp_path, 3, 1) | {"stream_mode": ["events"], "on_completion": "keep"}
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False, headers=service.sign_up()) as http:
        run = http.post("/runs", json=asked).raise_for_status().json()
        await until(lambda: len(log.read_text().splitlines()) >= 1, 60)
        service.workers.remove(patient)
        patient.send_signal(signal.SIGTERM)
        assert patient.wait(120) == 0
        assert stored(service, run["run_id"]) == {"status": "success", "failures": 0, "attempt": 1, "claim": None}


def stored(service: AgentService, run_id: str) -> dict[str, Any] | None:
    with psycopg.connect(service.environment["DATABASE_URL"], row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT status, failures, attempt, claim FROM runs WHERE run_id = %s", [run_id]
        ).fetchone()
