"""`python -m project1_qa_api`: a stage on its own, as it runs in production."""

import json
import re
import signal
import socket
import subprocess
import sys

import httpx2
import pytest

from tests.support.launched import SECONDS, clean_environment, free_port
from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "project1_qa_api"],
        env=clean_environment() | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(**environment: str) -> str:
    with start(**environment) as process:
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    (line,) = said.splitlines()
    return line


def test_service_runs_until_a_stop_signal_and_logs_json(model: ScriptedModel) -> None:
    port = free_port()
    key = "sk-a-real-key-0123456789"
    environment = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": key, "LLM_MODEL": "m", "PORT": str(port)}
    with start(APP_ENV="production", **environment) as process:
        assert process.stderr
        lines = [json.loads(process.stderr.readline())]
        while "startup complete" not in lines[-1]["message"]:
            lines.append(json.loads(process.stderr.readline()))
        url, headers = f"http://127.0.0.1:{port}/ask", {"X-Request-ID": "mine"}
        answer = httpx2.post(url, json={"question": "Hi"}, headers=headers, timeout=SECONDS, trust_env=False)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=SECONDS)
    lines += [json.loads(line) for line in rest.splitlines()]

    assert answer.status_code == 200
    assert model.requests[0].headers["authorization"] == f"Bearer {key}"
    assert process.returncode == 0  # it was asked for, and is no failure
    (asked,) = [line for line in lines if line.get("request_id") == "mine"]
    assert re.fullmatch(r"POST /ask 200 [\d.]+ ms, for 127\.0\.0\.1", asked["message"])
    assert "Application shutdown complete." in [line["message"] for line in lines]
    assert key not in rest


def test_missing_address_is_one_line() -> None:
    line = refused(APP_ENV="production", LLM_MODEL="m")

    assert line == "error: OPENAI_BASE_URL is not set (`make run-project1` starts an embedded service for it)"


def test_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(OPENAI_BASE_URL="http://127.0.0.1:9/v1", LLM_MODEL="m", PORT=str(port))

    assert line == f"error: cannot listen on 127.0.0.1:{port} (Address already in use); PORT chooses another port"
