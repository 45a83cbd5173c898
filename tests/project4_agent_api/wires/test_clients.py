"""The examples of clients, as they stand in `examples/clients`."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.agent_service import AgentService
from tests.support.javascript import install_javascript
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow
SOURCE = Path(__file__).parents[3] / "examples" / "clients"
SUM = ("calculator", '{"expression": "6 * 7"}')


@pytest.fixture(scope="module")
def environment(service: AgentService, headers: dict[str, str]) -> dict[str, str]:
    """The variables that the examples read: an address and an API key."""
    with httpx2.Client(base_url=service.url, headers=headers, trust_env=False) as http:
        key = http.post("/auth/api-keys", json={"name": "clients"}).raise_for_status().json()["key"]
    return os.environ | {"AGENT_API_URL": service.url, "AGENT_API_KEY": key}


@pytest.fixture(scope="module")
def javascript() -> Path:
    """A folder with the scripts and their packages."""
    return install_javascript(SOURCE, "examples-clients")


def output(command: list[str | Path], environment: dict[str, str], folder: Path = SOURCE) -> str:
    """Run an example, and return its output."""
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_openai_client(environment: dict[str, str], model: ScriptedModel) -> None:
    model.then(says("Hello, Ada."), says("Noted."), says("Ada."))
    assert output([sys.executable, "openai_client.py"], environment) == "Hello, Ada.\nAda.\n"
    assert [message["content"] for message in model.requests[2].body["messages"][1:]] == [
        "My name is Ada.",
        "Noted.",
        "What is my name?",
    ]


def test_openai_approval(environment: dict[str, str], model: ScriptedModel) -> None:
    model.then(calls(SUM), says("It is 42."))
    printed = output([sys.executable, "openai_approval.py"], environment)
    assert printed == 'approving calculator {"expression":"6 * 7"}\nIt is 42.\n'


def test_openai_tools(environment: dict[str, str], model: ScriptedModel) -> None:
    model.then(calls(("read_thermometer", '{"room": "kitchen"}')), says("It is warm."))
    assert output([sys.executable, "openai_tools.py"], environment) == "It is warm.\n"
    assert model.requests[1].body["messages"][-1]["content"] == "21 degrees"


def test_langchain_client(environment: dict[str, str], model: ScriptedModel) -> None:
    model.then(says("Hello, Ada."))
    assert output([sys.executable, "langchain_client.py"], environment) == "Hello, Ada.\n"


def test_openai_client_in_node(environment: dict[str, str], model: ScriptedModel, javascript: Path) -> None:
    model.then(says("Hello, Ada."), says("Noted."), says("Ada."))
    command: list[str | Path] = ["node", "--import", "tsx", "openai_client.ts"]
    assert output(command, environment, javascript) == "Hello, Ada.\nAda.\n"


def test_openai_tools_in_node(environment: dict[str, str], model: ScriptedModel, javascript: Path) -> None:
    model.then(calls(("read_thermometer", '{"room": "kitchen"}')), says("It is warm."))
    assert output(["node", "--import", "tsx", "openai_tools.ts"], environment, javascript) == "It is warm.\n"
    assert model.requests[1].body["messages"][-1]["content"] == "kitchen: 21 degrees"


def test_ai_sdk(environment: dict[str, str], model: ScriptedModel, javascript: Path) -> None:
    model.then(says("Hello, Ada."))
    assert output(["node", "--import", "tsx", "ai_sdk.ts"], environment, javascript) == "Hello, Ada.\n"


def test_ag_ui(environment: dict[str, str], model: ScriptedModel, javascript: Path) -> None:
    model.then(calls(SUM), says("It is 42."))
    printed = output(["node", "--import", "tsx", "ag_ui.ts"], environment, javascript)
    assert printed == "approving calculator\nIt is 42.\n"


def test_mcp_client(environment: dict[str, str], model: ScriptedModel) -> None:
    model.then(calls(SUM), says("It is 42."))
    printed = output([sys.executable, "mcp_client.py"], environment)
    assert printed == 'The assistant asks before it calls:\ncalculator: {"expression": "6 * 7"}\nIt is 42.\n'


def test_mcp_client_in_node(environment: dict[str, str], model: ScriptedModel, javascript: Path) -> None:
    model.then(says("Hello, Ada."))
    printed = output(["node", "--import", "tsx", "mcp_client.ts"], environment, javascript)
    assert printed == "true 0\nwriting\nHello, Ada.\n"


def test_mcp_client_in_node_signs_in_through_a_browser(
    service: AgentService,
    headers: dict[str, str],
    environment: dict[str, str],
    model: ScriptedModel,
    javascript: Path,
) -> None:
    model.then(says("Hello, Ada."))
    command = ["node", "--import", "tsx", "mcp_sign_in.ts"]
    with (
        subprocess.Popen(command, cwd=javascript, env=environment, stdout=subprocess.PIPE, text=True) as client,
        httpx2.Client(base_url=service.url, headers=headers, timeout=120, trust_env=False) as http,
    ):
        assert client.stdout is not None
        asked = client.stdout.readline().removeprefix("Open ").strip()
        decided = http.post("/auth/consent", json={"query": urlsplit(asked).query, "allow": True})
        httpx2.get(decided.raise_for_status().json()["redirect_to"], trust_env=False)

        assert client.stdout.read() == "Hello, Ada.\n"
    assert client.returncode == 0


def test_a2a_client(environment: dict[str, str], model: ScriptedModel) -> None:
    model.then(says("Hello, Ada."))
    assert output([sys.executable, "a2a_client.py"], environment) == "Hello, Ada.\n"
