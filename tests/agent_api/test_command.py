"""The command line of `agent-api`, without services."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_api import command, dev, project
from agent_api.watching import Restarter
from local.state import StageState
from project4_agent_api.accounts import cli as of_accounts
from project4_agent_api.runs import cli as of_runs
from shared.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_command_of_operators_is_forwarded() -> None:
    assert {*of_accounts.COMMANDS, *of_runs.COMMANDS, "serve", "worker", "migrate", "reindex"} == set(command.FORWARDED)


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("dev", "up", "new", "validate", *command.FORWARDED))


def test_new_project_is_valid_and_its_test_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["new", "demo"]) == 0
    assert "cd demo && agent-api dev" in capsys.readouterr().out
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr
    assert command.main(["new", "demo"]) == 2
    assert "error: demo is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "status", "shown"),
    [
        (
            "graph",
            0,
            [
                "python_version: without effect here: for building an image",
                "graphs: valid: a",
                "graph a: StateGraph",
                "is it 'graphs'?",
            ],
        ),
        ("missing", 2, ["error: ", "graph 'a': ./team.py has no 'missing'; there is graph"]),
    ],
)
def test_validate_reports_each_key(tmp_path: Path, variable: str, status: int, shown: list[str]) -> None:
    (tmp_path / "team.py").write_text("from langgraph.graph import StateGraph\ngraph = StateGraph(dict)\n")
    content = {"graphs": {"a": f"./team.py:{variable}"}, "python_version": "3.11", "grahps": {}}
    (tmp_path / "langgraph.json").write_text(json.dumps(content))
    root = Path(command.__file__).parents[1]

    done = subprocess.run(
        [sys.executable, "-P", "-m", "agent_api", "validate"],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status, done.stderr
    for text in shown:
        assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("auth", {"path": "./own.py:auth"}, "auth.path: importing ./own.py failed: SyntaxError"),
        ("http", {"app": "./own.py:app"}, "http.app: importing ./own.py failed: SyntaxError"),
    ],
)
def test_validate_imports_what_the_api_imports(tmp_path: Path, key: str, value: object, shown: str) -> None:
    (tmp_path / "team.py").write_text("from langgraph.graph import StateGraph\ngraph = StateGraph(dict)\n")
    (tmp_path / "own.py").write_text("def (")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"a": "./team.py:graph"}, key: value}))

    done = subprocess.run(
        [sys.executable, "-P", "-m", "agent_api", "validate"],
        env=os.environ | {"PYTHONPATH": str(Path(command.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert shown in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_without_a_file_names_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["validate"]) == 2
    assert f"error: there is no langgraph.json in {tmp_path}; `agent-api new NAME`" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_dev_serves_loopback_only(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["dev", "--host", host]) == 2
    assert "is not a loopback address" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "arguments", "port"),
    [({}, [], "2024"), ({"PORT": "2030"}, [], "2030"), ({"PORT": "2030"}, ["--port", "2031"], "2031")],
)
def test_dev_listens_on_the_named_port_and_writes_to_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], arguments: list[str], port: str
) -> None:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./a.py:a"}}')
    monkeypatch.setattr(os, "environ", {**os.environ, **variables})
    launched: list[tuple[StageState, dict[str, str]]] = []

    def launch(_package: str, state: StageState, environment: dict[str, str], **_options: object) -> int:
        launched.append((state, environment))
        return 0

    monkeypatch.setattr(dev, "launch_package", launch)

    assert command.main(["dev", *arguments]) == 0

    ((state, environment),) = launched
    assert environment["PORT"] == port
    assert state.folder == project.DATA
    assert state.weights.parent == project.DATA


@pytest.mark.parametrize("where", ["environment", "map", "file"])
def test_dev_uses_openai_where_its_key_is(tmp_path: Path, where: str) -> None:
    (tmp_path / "keys.env").write_text("OPENAI_API_KEY=sk-x\n")
    env = {"environment": {}, "map": {"OPENAI_API_KEY": "sk-x"}, "file": "keys.env"}[where]
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {}, "env": env}))
    environment = {"OPENAI_API_KEY": "sk-x"} if where == "environment" else {}

    dev._configure_model(environment, config)

    assert environment["OPENAI_BASE_URL"] == "https://api.openai.com/v1"
    assert environment["LLM_MODEL"]


def test_dev_without_the_embedded_model_starts_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "_MODEL_PACKAGES", ("a_package_that_is_not_installed",))
    (tmp_path / "langgraph.json").write_text("{}")
    environment: dict[str, str] = {}

    services = dev._configure_model(environment, tmp_path / "langgraph.json")

    assert set(services) == {"database_url", "redis_url"}
    assert environment["OPENAI_BASE_URL"] == environment["EMBEDDING_BASE_URL"] == "http://127.0.0.1:9/v1"


def test_commands_use_the_services_of_a_running_project(tmp_path: Path) -> None:
    assert project.environment_of_running_services() == {}
    (tmp_path / ".agent-api").mkdir()
    (tmp_path / ".agent-api" / "found-by.json").write_text('{"DATABASE_URL": "postgresql://x"}')

    assert project.environment_of_running_services() == {"DATABASE_URL": "postgresql://x"}


def test_missing_package_of_the_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "psutil" or name in ("agent_api.dev", "local.state")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psutil", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'ai-backend-capstones\[project4,embedded\]'"):
        command._module("dev")


def test_files_of_the_api_are_those_of_auth_and_http(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"auth": {"path": "./auth.py:auth"}, "http": {"app": "./web/app.py:app"}}))

    files = Restarter(config, {}, {})._files_of_api()

    assert files == {(tmp_path / "auth.py").resolve(), (tmp_path / "web" / "app.py").resolve()}
