"""The newcomer's way: nothing is given, so everything is embedded."""

import os
import signal
import time
from collections.abc import Callable

import httpx2
import psutil
import pytest

from tests.support.launched import Launched, assert_gone, free_port
from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow


def test_a_bare_start_answers_and_leaves_nothing(launch: Callable[..., Launched]) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    launched = launch(PORT=str(port))
    launched.said("project1: ready")
    children = launched.descendants()
    assert len(children) == 2

    answer = httpx2.post(f"{url}/ask", json={"question": "Why is the sky blue?", "max_tokens": 60}, timeout=60).json()
    assert answer["model"] == "smollm2-135m-instruct"
    assert "light" in answer["answer"]

    first, last = stream(url)
    assert last - first > 0.05  # it is not computed first and sent then

    model = launched.descendant("model_server")
    os.kill(model.pid, signal.SIGKILL)
    launched.said("the embedded model server was killed by SIGKILL, see .data/project1/model-server.log; starting it")
    answered = httpx2.post(f"{url}/ask", json={"question": "Hi", "max_tokens": 5}, timeout=60)
    assert answered.status_code == 200

    children += launched.descendants()
    launched.process.send_signal(signal.SIGINT)
    assert launched.ends() == 0
    assert_gone([child for child in children if child.pid != model.pid])
    assert not psutil.pid_exists(model.pid)


def stream(url: str) -> tuple[float, float]:
    """Return when the first and the last event of a streamed answer arrived."""
    body = {"question": "Tell me a long story.", "max_tokens": 80}
    with httpx2.stream("POST", f"{url}/ask/stream", json=body, timeout=60) as response:
        arrivals = [time.monotonic() for line in response.iter_lines() if line.startswith("event: ")]
    return arrivals[0], arrivals[-1]


def test_the_embedded_database_keeps_its_rows(launch: Callable[..., Launched], model: ScriptedModel) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {"PORT": str(port), "OPENAI_BASE_URL": model.base_url, "LLM_MODEL": "m"}
    ada = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery staple"}
    first = launch("project2", **environment)
    first.said("project2: ready")
    user = httpx2.post(f"{url}/users", json=ada, timeout=60).json()
    children = first.descendants()
    assert any("postgres" in child.name() for child in children)

    first.process.kill()
    assert_gone(children)

    second = launch("project2", **environment)
    second.said("project2: ready")
    assert httpx2.get(f"{url}/users/{user['id']}", timeout=60).json() == user
    postgres = next(child for child in second.descendants() if child.name() == "postgres")
    postmaster = postgres if postgres.ppid() == second.process.pid else postgres.parent()
    assert postmaster
    postmaster.kill()
    second.said("the embedded PostgreSQL was killed by SIGKILL, see .data/project2/postgres.log; starting it again")
    second.until(lambda: httpx2.get(f"{url}/users", timeout=60).status_code == 200, "it did not recover")

    children = second.descendants()
    second.process.send_signal(signal.SIGTERM)
    assert second.ends() == 0
    assert_gone(children)
    assert ada["password"] not in first.output + second.output
