"""The launcher on real processes: the processes it starts, its output, and that it leaves nothing behind."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.support.launched import SECONDS, Launched, assert_gone, free_port
from tests.support.scripted_model import ScriptedModel, says

pytestmark = pytest.mark.slow


def answer_of(given: dict[str, str]) -> str:
    url = f"http://127.0.0.1:{given['PORT']}/ask"
    return str(httpx2.post(url, json={"question": "Hi"}, timeout=SECONDS).json()["answer"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_signal_ends_everything_in_order(
    launch: Callable[..., Launched], given: dict[str, str], number: signal.Signals
) -> None:
    launched = launch(**given)
    launched.said("project1: ready")
    children = launched.descendants()
    assert len(children) == 1  # every address is given, so there is the app and nothing else
    assert answer_of(given) == "Hello!"

    launched.process.send_signal(number)

    assert launched.ends() == 0
    assert_gone(children)
    assert "Traceback" not in launched.output


def test_open_stream_ends_before_the_app(
    launch: Callable[..., Launched], given: dict[str, str], model: ScriptedModel
) -> None:
    model.says("a stream that goes on for a while", tokens_per_second=5)
    launched = launch(**given)
    launched.said("project1: ready")
    url = f"http://127.0.0.1:{given['PORT']}/ask/stream"

    with httpx2.stream("POST", url, json={"question": "Hi"}, timeout=SECONDS) as response:
        lines = response.iter_lines()
        next(lines)
        launched.process.terminate()
        rest = list(lines)

    assert "event: done" in rest
    assert launched.ends() == 0


# Elsewhere the next start ends them: `test_leftover_processes_end_at_the_next_start`.
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_killed_launcher_leaves_nothing(launch: Callable[..., Launched], given: dict[str, str]) -> None:
    launched = launch(**given)
    launched.said("project1: ready")
    children = launched.descendants()

    launched.process.kill()

    assert_gone(children)
    again = launch(**given)
    again.said("project1: ready")


def test_leftover_processes_end_at_the_next_start(
    launch: Callable[..., Launched], given: dict[str, str], tmp_path: Path
) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleep) as leftover, subprocess.Popen(sleep) as stranger:
        started = psutil.Process(leftover.pid).create_time()
        children = [[leftover.pid, started], [stranger.pid, started - 1000]]  # the second pid was given out anew
        (tmp_path / ".data" / "project1").mkdir(parents=True)
        (tmp_path / ".data" / "project1" / "children.json").write_text(json.dumps(children))

        # Here they are children of this process, and are not quite gone until it has asked for them.
        reaper = threading.Thread(target=leftover.wait)
        reaper.start()
        launch(**given).said("project1: ready")
        reaper.join(SECONDS)

        assert leftover.poll() == -signal.SIGTERM
        assert stranger.poll() is None
        stranger.kill()


def test_crashed_app_is_restarted_at_its_address(launch: Callable[..., Launched], given: dict[str, str]) -> None:
    launched = launch(**given)
    launched.said("project1: ready")
    first = launched.descendant("project1_qa_api")

    first.kill()

    launched.said("project1 was killed by SIGKILL; restarting in 0.5 s (1 of 5)")
    # No connection is refused meanwhile: the launcher holds the socket.
    assert httpx2.get(f"http://127.0.0.1:{given['PORT']}/health", timeout=SECONDS).status_code == 200
    assert launched.descendant("project1_qa_api").pid != first.pid


def test_launchers_in_different_folders_coexist(
    launch: Callable[..., Launched], given: dict[str, str], tmp_path: Path
) -> None:
    ports = [str(free_port()), str(free_port())]
    for port in ports:
        launch(folder=tmp_path / port, **(given | {"PORT": port})).said("project1: ready")

    for port in ports:
        assert httpx2.get(f"http://127.0.0.1:{port}/health", timeout=SECONDS).status_code == 200


def test_make_stop_ends_the_stages_of_this_folder(launch: Callable[..., Launched], given: dict[str, str]) -> None:
    launched = launch(**given)
    launched.said("project1: ready")
    children = launched.descendants()

    stop = launch("--stop")

    assert stop.ends() == 0
    assert stop.output == "project1: stopped\n"
    assert launched.ends() == 0
    assert_gone(children)


def refused(launched: Launched) -> str:
    """Return the one line with which a launcher that could not start has ended."""
    assert launched.ends() == 2, launched.output
    (line,) = [line for line in launched.lines if not line.endswith("; starting the embedded model server\n")]
    assert line.startswith("error: ")
    return line


def test_port_in_use_is_one_line(launch: Callable[..., Launched], given: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(given["PORT"]))):
        line = refused(launch(**given))

    assert f"cannot listen on 127.0.0.1:{given['PORT']}" in line
    assert "PORT chooses another" in line


def test_busy_port_is_reported_before_a_database_is_created(launch: Callable[..., Launched], tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        launched = launch("project3", PORT=str(port))

        assert launched.ends() == 2
    assert launched.output.startswith(f"error: cannot listen on 127.0.0.1:{port} (")
    assert launched.output.count("\n") == 1
    assert not (tmp_path / ".data" / "project3" / "postgres").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--chapter", "agent", "project4"], "project4 has no chapter agent; there are: agents, accounts, limits, "),
        (["--chapter", "agents", "project1"], "project1 has no chapters; run it without CHAPTER"),
    ],
)
def test_unknown_chapter_is_one_line(launch: Callable[..., Launched], arguments: list[str], said: str) -> None:
    assert refused(launch(*arguments)).startswith(f"error: {said}")


def test_second_launcher_is_refused_in_one_line(launch: Callable[..., Launched], given: dict[str, str]) -> None:
    first = launch(**given)
    first.said("project1: ready")

    pid = first.process.pid
    assert f"project1 is already running here (process {pid}); `kill {pid}` stops it" in refused(launch(**given))


def test_read_only_folder_is_one_line(launch: Callable[..., Launched], given: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".data").write_text("in the way")

    assert "cannot write to" in refused(launch(**given))


def test_unknown_stage_is_one_line(launch: Callable[..., Launched]) -> None:
    assert "there is no stage project9; there are: project1" in refused(launch("project9"))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"APP_ENV": "production"}, "OPENAI_BASE_URL is not set"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "LLM_MODEL is not set"),
        ({"OPENAI_BASE_URL": "nonsense", "LLM_MODEL": "m"}, "OPENAI_BASE_URL: must be an http"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL: "),
    ],
)
def test_invalid_settings_are_one_line(launch: Callable[..., Launched], environment: dict[str, str], said: str) -> None:
    assert said in refused(launch(**environment))


def test_unknown_embedded_model_is_one_line(launch: Callable[..., Launched]) -> None:
    launched = launch(EMBEDDED_MODEL="qwen3")

    assert launched.ends() == 2
    assert launched.output == (
        "error: EMBEDDED_MODEL: there is no qwen3; there are: smollm2-135m-instruct, qwen2.5-coder-0.5b\n"
    )


def test_embedded_model_is_not_installed_beside_an_external_one(
    launch: Callable[..., Launched], given: dict[str, str], tmp_path: Path
) -> None:
    launched = launch(EMBEDDED_MODEL="qwen2.5-coder-0.5b", **given)
    launched.said("project1: ready")

    assert "project1: EMBEDDED_MODEL is ignored with OPENAI_BASE_URL" in launched.output
    assert "installing" not in launched.output
    assert not (tmp_path / ".data" / "models").exists()


def test_interrupted_installation_is_one_line(launch: Callable[..., Launched]) -> None:
    """No package index answers: pip retries for some seconds, in which Ctrl-C arrives."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        no_other_index = {"PIP_CONFIG_FILE": "/dev/null", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
        launched = launch(
            EMBEDDED_MODEL="qwen2.5-coder-0.5b", PIP_INDEX_URL=index, NO_PROXY="127.0.0.1", **no_other_index
        )
        launched.said("part 1 of 6")
        silent.settimeout(SECONDS)
        connection, _ = silent.accept()
        children = launched.descendants()
        assert any("pip" in child.cmdline() for child in children)
        launched.process.send_signal(signal.SIGINT)

        assert launched.ends() == 2
        assert_gone(children)
        connection.close()
    assert launched.output.splitlines() == [
        "project1: installing qwen2.5-coder-0.5b into .data/models: 491 MB to download, once",
        "project1:   part 1 of 6",
        "error: qwen2.5-coder-0.5b is not installed completely; the next start continues",
    ]


def test_addresses_are_read_from_dotenv(
    launch: Callable[..., Launched], given: dict[str, str], model: ScriptedModel, tmp_path: Path
) -> None:
    model.does(says("from the model in .env"))
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))

    launched = launch()
    launched.said("project1: ready")

    assert answer_of(given) == "from the model in .env"
    assert len(launched.descendants()) == 1
