"""Stage 4 in containers, end to end. `make test-deploy` runs it; it needs a container engine."""

import asyncio
import os
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from deploy.stack import ROOT
from tests.deploy.deployments import assert_nothing_was_lost, image_id, loaded, make, version_without
from tests.deploy.service import Service, eventually, running

DOCUMENT = ROOT / "examples" / "documents" / "refund-policy.pdf"


@pytest.fixture(autouse=True)
def _ready(service: Service) -> None:
    service.wait_until_ready()


def test_user_journey_works_through_the_proxy(service: Service) -> None:
    with service.client(service.sign_up()) as http:
        service.upload(http, DOCUMENT)
        cited = http.post("/documents/ask", json={"question": "Within how many days can I send something back?"})
        assert cited.status_code == 200, cited.text
        assert cited.json()["citations"]

        thread = http.post("/threads", json={}).raise_for_status().json()["thread_id"]
        assert service.ask_agent(http, thread, "What is 17 * 23?") == "The tool said 391."

        question = {"messages": [{"role": "user", "content": "40 words, 100 ms apart"}]}
        asked = {"assistant_id": "agent", "input": question, "stream_mode": "messages-tuple"}
        with http.stream("POST", f"/threads/{thread}/runs/stream", json=asked) as answer:
            lines = answer.iter_lines()
            next(line for line in lines if "word0" in line)
            run = http.get(answer.headers["Content-Location"]).raise_for_status().json()
            assert run["status"] == "running"  # a word is here while the others are not said yet
            assert any("word39" in line for line in lines)


def test_internal_routes_are_not_published(service: Service) -> None:
    with service.client() as http:
        metrics = http.get("/metrics")
        assert metrics.status_code == 404
        assert metrics.headers["Content-Type"] == "application/problem+json"


def test_oversized_file_has_the_same_error_everywhere(service: Service) -> None:
    with service.client(service.sign_up()) as http:
        for mib in (52, 80):  # beyond what the service takes; beyond what the proxy takes
            answer = http.post("/documents", files={"file": ("large.txt", b"x" * (mib << 20))})
            assert answer.status_code == 413
            assert answer.json()["type"] == "urn:problem:body-too-large"


def test_containers_have_minimal_privileges(service: Service) -> None:
    stack = service.stack
    for container in [*stack.ids("api"), *stack.ids("worker"), stack.only("proxy")]:
        status = dict(
            line.split(":\t", 1)
            for line in stack.engine("exec", container, "cat", "/proc/1/status").splitlines()
            if ":\t" in line
        )
        assert status["Uid"].split()[0] in {"10001", "10002"}
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        writing = [*stack.container, "exec", "-u", "0", container, "touch", "/written"]
        written = subprocess.run(writing, capture_output=True, check=False)
        assert b"Read-only file system" in written.stderr


async def test_deployment_fails_no_request_and_no_stream(service: Service) -> None:
    before = set(service.stack.ids("api") + service.stack.ids("worker"))
    load = await loaded(service)

    async with load.going_on():
        await asyncio.sleep(5)
        assert await make("deploy") == 0
        await asyncio.sleep(5)

    assert not before & set(service.stack.ids("api") + service.stack.ids("worker"))
    await assert_nothing_was_lost("deployment", load)


@pytest.mark.parametrize("what", ["api", "worker"])
async def test_version_that_never_becomes_ready_is_rolled_back(service: Service, what: str) -> None:
    broken = version_without(service, what)
    version = image_id(service, "current")
    before = {kind: set(service.stack.ids(kind)) for kind in ("api", "worker")}
    load = await loaded(service)

    async with load.going_on():
        await asyncio.sleep(3)
        assert await make("deploy", f"ARGS=--image {broken} --ready-seconds 60") == 2
        await asyncio.sleep(3)

    assert image_id(service, "current") == version
    for kind, containers in before.items():
        assert len(service.stack.ids(kind)) == 2
        if kind == what:
            assert set(service.stack.ids(kind)) == containers  # they were never touched
        for container in service.stack.ids(kind):
            image = service.stack.engine("inspect", "--type", "container", "--format", "{{.Image}}", container)
            assert image.removeprefix("sha256:") == version
    await assert_nothing_was_lost(f"deployment whose {what} never becomes ready", load)


def test_backup_restores_everything(service: Service) -> None:
    email = f"{uuid.uuid4()}@example.com"
    with service.client(service.sign_up(email)) as http:
        document = service.upload(http, DOCUMENT)
        thread = http.post("/threads", json={}).raise_for_status().json()["thread_id"]
        service.ask_agent(http, thread, "What is 17 * 23?")
        file_before = http.get(f"/documents/{document}/file").raise_for_status().content
    for worker in service.stack.ids("worker"):
        service.stack.engine("stop", worker)  # so that nothing changes between the count and the backup
    counted = _counts(service)

    backup = Path(service.make("backup").splitlines()[-1].partition(": ")[0])
    assert service.tried("restore", f"FILE={backup}").returncode == 2  # there is something in the database
    service.destroy()
    service.make("restore", f"FILE={backup}")

    assert _counts(service) == counted
    service.wait_until_ready()
    eventually(lambda: running(service.stack, "worker") == 2)
    with service.client(service.sign_in(email)) as http:
        assert http.get(f"/documents/{document}/file").raise_for_status().content == file_before
        assert http.post("/documents/search", json={"query": "send back"}).raise_for_status().json()["hits"]
        state = http.get(f"/threads/{thread}/state").raise_for_status().json()
        assert state["values"]["messages"][-1]["content"] == "The tool said 391."
        assert service.ask_agent(http, thread, "And again: what is 17 * 23?") == "The tool said 391."


def test_damaged_backup_is_rejected(service: Service) -> None:
    backup = Path(service.make("backup").splitlines()[-1].partition(": ")[0])
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    backup.write_bytes(content)

    tried = service.tried("restore", f"FILE={backup}")

    assert tried.returncode == 2
    assert "checksum" in tried.stderr


def test_backups_beyond_the_limit_are_deleted(service: Service) -> None:
    made = [Path(service.make("backup").splitlines()[-1].partition(": ")[0]) for _ in range(3)]

    assert sorted(made[0].parent.glob("*.dump.enc")) == made[1:]


def _kill_a_worker(service: Service) -> None:
    _kill(service, service.stack.ids("worker")[0])


def _kill_an_api(service: Service) -> None:
    _kill(service, service.stack.ids("api")[0])


def _restart_postgresql(service: Service) -> None:
    service.stack.engine("restart", service.stack.only("postgres"))


def _replace_valkey(service: Service) -> None:
    service.stack.engine("rm", "-f", "-v", service.stack.only("valkey"))
    service.stack.composed("up", "-d", "--no-deps", "valkey")


def _kill(service: Service, container: str) -> None:
    """Kill the process, as the kernel does when memory runs out: the engine did not request it."""
    process = service.stack.engine("inspect", "--type", "container", "--format", "{{.State.Pid}}", container)
    os.kill(int(process), signal.SIGKILL)


@pytest.mark.parametrize("happens", [_kill_an_api, _kill_a_worker, _restart_postgresql, _replace_valkey])
def test_service_recovers_unattended(service: Service, happens: Callable[[Service], None]) -> None:
    with service.client(service.sign_up()) as http:
        thread = http.post("/threads", json={}).raise_for_status().json()["thread_id"]
        assert service.ask_agent(http, thread, "What is 17 * 23?") == "The tool said 391."

        happens(service)

        eventually(lambda: running(service.stack, "api") == running(service.stack, "worker") == 2)

        def answers() -> bool:
            try:
                return service.ask_agent(http, thread, "Again: 17 * 23?") == "The tool said 391."
            except httpx2.HTTPError:
                return False

        eventually(answers)


def test_team_graphs_are_deployed_in_a_derived_image(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = service.stack
    image, base = f"{stack.image}-agents:1", f"BASE={stack.image}:current"
    stack.run([*stack.build, "-q", "--build-arg", base, "-t", image, "examples/agents"])

    with monkeypatch.context() as fewer:
        fewer.setenv("API_REPLICAS", "1")
        fewer.setenv("WORKER_REPLICAS", "1")
        service.make("deploy", f"ARGS=--image {image}")

    assert len(stack.ids("api")) == len(stack.ids("worker")) == 1
    with service.client(service.sign_up()) as http:
        thread = http.post("/threads", json={}).raise_for_status().json()["thread_id"]
        asked = {"assistant_id": "echo", "input": {"messages": [{"role": "user", "content": "once more"}]}}
        state = http.post(f"/threads/{thread}/runs/wait", json=asked).raise_for_status().json()
        assert [message["content"] for message in state["messages"]] == ["once more", "once more"]
        assert [run["status"] for run in http.get(f"/threads/{thread}/runs").raise_for_status().json()] == ["success"]

    service.make("deploy", f"ARGS=--image {stack.image}:previous")

    assert len(stack.ids("api")) == len(stack.ids("worker")) == 2


def _counts(service: Service) -> dict[str, str]:
    """Return how many rows each table has, and a checksum of all of them."""
    tables = service.query(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    ).splitlines()
    checked = "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {} t"
    # What changes by itself: who works at the moment.
    return {
        table: service.query(checked.format(table)) for table in tables if not table.endswith("procrastinate_workers")
    }
