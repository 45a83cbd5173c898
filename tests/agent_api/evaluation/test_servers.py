"""Evaluations of servers that differ from this one: without feedback, or of another kind."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from agent_api.command import main
from agent_api.evaluation import command as evaluation
from agent_api.evaluation.judge import Verdict, judge
from agent_api.evaluation.outcome import Outcome
from agent_api.evaluation.report import read_report
from local import launcher
from shared.errors import ConfigurationError
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel, says

THREAD, RUN = "0191d8a5-0000-7000-8000-000000000001", "0191d8a5-0000-7000-8000-000000000002"
STATE = {"messages": [{"type": "human", "content": "Hi"}, {"type": "ai", "content": "Hello!"}]}


class Server:
    """A server of LangGraph's API with threads and runs, and nothing else.

    Attributes:
        result: The result of runs.
        threads: The number of threads that are not deleted.
        fails: Whether the third run fails, while the others go on.
    """

    def __init__(self) -> None:
        self.result: dict[str, Any] = STATE
        self.threads = self.runs = 0
        self.fails = False
        self.url = ""

    async def create(self, _: Request) -> Response:
        self.threads += 1
        return JSONResponse({"thread_id": THREAD})

    async def delete(self, _: Request) -> Response:
        self.threads -= 1
        return Response(status_code=204)

    async def run(self, _: Request) -> Response:
        self.runs += 1
        if self.fails and self.runs == 3:
            return JSONResponse({"detail": "broken"}, status_code=500)
        if self.fails:
            await asyncio.sleep(30)
        return JSONResponse(self.result, headers={"Content-Location": f"/threads/{THREAD}/runs/{RUN}"})

    async def state(self, _: Request) -> Response:
        return JSONResponse({"values": STATE})


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = "/threads/{thread}"
    app = Starlette(
        routes=[
            Route("/threads", server.create, methods=["POST"]),
            Route(thread, server.delete, methods=["DELETE"]),
            Route(f"{thread}/runs/wait", server.run, methods=["POST"]),
            Route(f"{thread}/state", server.state),
        ]
    )
    with running(app) as server.url:
        yield server


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    path = tmp_path / "set.yaml"
    path.write_text("examples: [{id: a, input: Hi, expect: {contains: Hello}, decide: approve}]")
    return str(path)


def test_report_is_written_if_the_server_takes_no_feedback(
    server: Server, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", dataset, "--url", server.url, "--keep", "--output", str(tmp_path)]) == 0

    assert "the scores are not stored" in capsys.readouterr().out
    assert (tmp_path / "set.json").is_file()
    assert server.threads == 1


def test_dataset_without_an_example_to_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as one of bad ratings only, before their `expect` is written."""
    path = tmp_path / "made.yaml"
    path.write_text("examples: [{id: a, input: Hi, skip: rated 0}]")

    assert main(["eval", str(path), "--url", "http://127.0.0.1:1"]) == 2

    assert capsys.readouterr().err == f"error: {path}: all examples are skipped\n"


def test_question_of_a_graph_is_a_failed_answer(
    server: Server, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.result = {"__interrupt__": [{"id": "1", "value": "Really?"}]}

    assert main(["eval", dataset, "--url", server.url]) == 1

    assert "`decide` cannot answer" in capsys.readouterr().out
    assert server.threads == 0


def test_failed_request_leaves_no_threads(server: Server, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.fails = True

    assert main(["eval", dataset, "--url", server.url, "--repetitions", "3", "--concurrency", "3"]) == 2

    assert "500" in capsys.readouterr().err
    assert server.threads == 0


def test_failure_in_the_own_service_is_one_line(
    dataset: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    app = SimpleNamespace(name="eval", sockets=[SimpleNamespace(getsockname=lambda: address)])
    stage: Any = SimpleNamespace(
        program=SimpleNamespace(package="local"), services=[], servers=[], control=None, app=app
    )

    def launch_package(*_: object, job: Any) -> int:  # noqa: ANN401  a job of the launcher
        return asyncio.run(launcher._run(stage, launcher._Task((), job=job)))

    monkeypatch.setattr(evaluation, "launch_package", launch_package)

    assert main(["eval", dataset]) == 2
    assert capsys.readouterr().err.startswith("error: ")


async def test_failed_judge_is_one_line() -> None:
    async def fail(_: object) -> None:
        raise RuntimeError("with a part of the key: sk-12")

    model: Any = SimpleNamespace(with_structured_output=lambda *_, **__: RunnableLambda(fail))

    with pytest.raises(ConfigurationError, match=r"^--judge: the model gave no verdict \(RuntimeError\)$"):
        await judge(model, "Hi", Outcome(answer="Hello!"), ["is polite"])


@pytest.mark.parametrize("command", ["eval", "dataset"])
def test_server_of_another_kind_is_one_line(command: str, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def page(_: Request) -> Response:
        return HTMLResponse("<p>Welcome</p>")

    with running(Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST", "DELETE"])])) as url:
        assert main([command, *([dataset] if command == "eval" else []), "--url", url]) == 2

    assert capsys.readouterr().err.startswith(f"error: {url}: the answer is not JSON")


def test_judge_is_called_for_as_many_answers_at_once_as_allowed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "judged.yaml"
    path.write_text("examples: [{id: a, input: Hi, expect: {judge: is polite}}]")
    active = most = 0
    together = asyncio.Barrier(3)

    async def decide(_: object) -> Verdict:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await together.wait()
        active -= 1
        return Verdict(reason="", met=True)

    model: Any = SimpleNamespace(with_structured_output=lambda *_, **__: RunnableLambda(decide))
    monkeypatch.setattr(evaluation, "_create_judge", lambda _: model)

    arguments = ["eval", str(path), "--url", server.url, "--judge", "m", "--repetitions", "6", "--concurrency", "3"]
    assert main(arguments) == 0
    assert most == 3


def test_report_has_the_judges_cost(
    server: Server,
    model: ScriptedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "judged.yaml"
    path.write_text("examples: [{id: a, input: Hi, expect: {judge: is polite}}]")
    model.then(says('{"reason":"It greets.","met":true}'))
    price = '{"scripted-model": {"input": 1000000, "output": 0}}'
    variables = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "k", "LLM_PRICES": price}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert main(["eval", str(path), "--url", server.url, "--judge", "scripted-model", "--output", str(tmp_path)]) == 0

    assert "judge: 9 tokens, 7 USD" in capsys.readouterr().out
    assert read_report(tmp_path / "judged.json").cost() == "0 tokens, judge: 9 tokens, 7 USD"
