"""The Dockerfile and the compose file that open the answers 6.1 and 6.2 do what the answers say."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from learn import questions
from tests.support.launched import free_port

_APP = "from fastapi import FastAPI\napp = FastAPI()\napp.get('/health')(lambda: {'status': 'ok'})\n"


def _opening(id_: str, language: str) -> str:
    page = questions.answer_page(6, language).read_text(encoding="utf-8")
    found = re.search(r"^```\w+\n(.*?)^```$", questions.answers(page)[id_][1], re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("id_", ["6.1", "6.2"])
def test_both_languages_open_with_the_same_file(id_: str) -> None:
    assert _opening(id_, "en") == _opening(id_, "zh")


def _command(instruction: str, port: int) -> list[str]:
    """Return the command of an instruction of the Dockerfile in exec form, for this machine."""
    (arguments,) = re.findall(rf"^{instruction} (\[.*\])$", _opening("6.1", "en"), re.MULTILINE)
    command: list[str] = [argument.replace("8000", str(port)) for argument in json.loads(arguments)]
    return [str(Path(sys.executable).parent / command[0]), *command[1:]]


def test_container_command_serves_and_ends_at_a_stop_signal(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(_APP)
    port = free_port()
    check = _command("HEALTHCHECK CMD", port)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with subprocess.Popen(_command("CMD", port), cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 30
            while subprocess.run(check, env=environment, stderr=subprocess.DEVNULL, check=False).returncode:
                assert time.monotonic() < until
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(10) in {0, -signal.SIGTERM}


def test_dockerfile_copies_packages_before_code_and_drops_root() -> None:
    text = _opening("6.1", "en")
    assert text.index("COPY requirements.txt") < text.index("pip install") < text.index("COPY main.py")
    assert text.index("USER 10001") < text.index("\nCMD")


def test_compose_file_waits_for_health_checks() -> None:
    services = yaml.safe_load(_opening("6.2", "en"))["services"]
    waits = services["api"]["depends_on"]
    assert waits == {name: {"condition": "service_healthy"} for name in ("postgres", "redis")}
    assert all("healthcheck" in services[name] for name in waits)
    assert [name for name, service in services.items() if "ports" in service] == ["api"]
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]
