"""The wheel, in an empty environment outside the checkout: a new project runs, and an edit of it is live."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.launched import SECONDS, Launched, free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ["agent_api", "local", "shared", *(path.name for path in ROOT.glob("project?_*"))]


@pytest.fixture(scope="module")
def agent_api(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command. Other packages are those of this environment, whose lock other tests hold."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python"]
    subprocess.run([*install, str(python), str(wheel)], check=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "agent-api"


@pytest.fixture
def clean() -> dict[str, str]:
    """An environment without the checkout, in which the models are configured."""
    models = dict.fromkeys(("OPENAI_BASE_URL", "EMBEDDING_BASE_URL"), "http://127.0.0.1:9/v1")
    models |= {"LLM_MODEL": "m", "EMBEDDING_MODEL": "e", "EMBEDDING_DIMENSIONS": "8"}
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | models


@pytest.fixture
def running(agent_api: Path, tmp_path: Path, clean: dict[str, str]) -> Iterator[tuple[Launched, Path, str]]:
    """`agent-api dev` in a new project, with the project's folder and the address."""
    subprocess.run([agent_api, "new", "demo"], cwd=tmp_path, env=clean, check=True, capture_output=True)
    port = str(free_port())
    models = dict.fromkeys(("OPENAI_BASE_URL", "EMBEDDING_BASE_URL"), "http://127.0.0.1:9/v1")
    models |= {"LLM_MODEL": "m", "EMBEDDING_MODEL": "e", "EMBEDDING_DIMENSIONS": "8"}
    # What an ordinary project may contain, and must not hide.
    (tmp_path / "demo" / "shared").mkdir()
    (tmp_path / "demo" / "shared" / "__init__.py").write_text("")
    launched = Launched(tmp_path / "demo", {}, command=[str(agent_api), "dev", "--port", port], inherited=clean)
    yield launched, tmp_path / "demo", f"http://127.0.0.1:{port}"
    launched.close()


def test_new_project_answers_and_an_edit_is_live(
    running: tuple[Launched, Path, str], agent_api: Path, clean: dict[str, str]
) -> None:
    launched, folder, url = running
    launched.said("Ctrl-C stops everything.")
    assert f"https://smith.langchain.com/studio/?baseUrl={url}" in launched.output
    assert f"https://agentchat.vercel.app/?apiUrl={url}&assistantId=agent" in launched.output
    with httpx2.Client(base_url=url, timeout=SECONDS, trust_env=False) as http:
        assert http.get("/").status_code == 200
        thread = http.post("/threads", json={}).json()["thread_id"]

        def answered() -> str:
            message = {"role": "user", "content": "Hello"}
            body = {"assistant_id": "agent", "input": {"messages": [message]}}
            response = http.post(f"/threads/{thread}/runs/wait", json=body)
            return str(response.json()["messages"][-1]["content"])

        assert answered() == "You said: Hello (message 1 of this thread)"
        graph = folder / "graph.py"
        graph.write_text(graph.read_text().replace("You said", "I heard"))
        answers = [answered()]
        while not answers[-1].startswith("I heard"):
            assert len(answers) < 1000, answers
            answers.append(answered())
        assert answers[-1] == f"I heard: Hello (message {len(answers) + 1} of this thread)"

    listed = subprocess.run([agent_api, "runs"], cwd=folder, env=clean, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == len(answers) + 1
    assert (folder / ".agent-api" / ".gitignore").read_text() == "*\n"

    launched.process.terminate()
    assert launched.ends() == 0
    assert "Traceback" not in launched.output
