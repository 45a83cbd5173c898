"""The built-in datasets with the embedded model: they pass, planted faults fail, and rated runs become examples."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agent_api.command import main
from agent_api.evaluation.dataset import load_dataset
from project3_rag_docs.answers import chain
from project3_rag_docs.ingestion import job
from project3_rag_docs.ingestion.parsing.child import ParsedChunk, read_chunks
from project4_agent_api.agents.tools.calculator import calculator
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from tests.support.databases import Databases
from tests.support.launched import ROOT
from tests.support.running import running

pytestmark = pytest.mark.slow

AGENT, RAG = str(ROOT / "evals" / "agent.yaml"), str(ROOT / "evals" / "rag.yaml")

Evaluated = Callable[[], AbstractContextManager[str]]
Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def serve(embedded_model_url: str, databases: Databases, redis_url: str) -> Evaluated:
    """Serves project 4, without accounts, while a block runs; gives its URL."""

    @contextmanager
    def serve() -> Iterator[str]:
        with ExitStack() as stack:
            settings = Settings(
                _env_file=None,
                app_env="test",
                openai_base_url=embedded_model_url,
                llm_model="smollm2-135m-instruct",
                llm_extra_body={"max_tokens": 64},  # a tiny model without instructions goes on up to its limit
                llm_timeout_seconds=200,
                embedding_model="multilingual-e5-small",
                database_url=stack.enter_context(databases.migrated("project4_agent_api")),
                redis_url=redis_url,
                jwt_secret="a secret of the tests, with more than 32 bytes",
                auth_required=False,
                rag_max_rewrites=0,
                rate_limit_per_minute=1_000_000,
            )
            stack.enter_context(running(create_worker(settings)))
            yield stack.enter_context(running(create_app(settings)))

    return serve


def test_unchanged_assistants_pass_and_rated_runs_become_examples(
    serve: Evaluated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve() as url, httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
        evaluate = ["eval", AGENT, RAG, "--url", url, "--concurrency", "4", "--output", str(tmp_path), "--keep"]
        assert main(evaluate) == 0, capsys.readouterr().out
        assert http.get("/documents").json()["items"] == []  # those of the dataset are deleted

        report = json.loads((tmp_path / "agent.json").read_text())
        rated = {trial["example"]: trial["run_id"] for trial in report["trials"]}
        scores = http.get("/feedback", params={"run": rated["multiply"]}).json()
        assert {(each["key"], each["score"]) for each in scores} == {
            (f"eval_{name}", 1.0) for name in ("answered", "contains", "tools")
        }

        ratings: dict[str, dict[str, Any]] = {
            "clock": {"score": 1},
            "greeting": {"score": 0, "comment": "too short"},
            "documents": {"score": 0, "correction": "140 euros"},
        }
        for name, given in ratings.items():
            body = {"run_id": rated[name], "key": "user_score", **given}
            assert http.post("/feedback", json=body).status_code == 200
        made = tmp_path / "made.yaml"
        assert main(["dataset", "--url", url, "--output", str(made)]) == 0

    examples = {example.id: example for example in load_dataset(made)[0].examples}
    clock, greeting, documents = [examples[rated[name]] for name in ("clock", "greeting", "documents")]
    assert clock.turns == ["What time is it now in Tokyo?"]
    assert clock.expect
    assert clock.expect.tools
    assert [call.name for call in clock.expect.tools.calls] == ["current_time"]
    assert greeting.skip == "rated 0: too short; its `expect` is missing"
    assert documents.expect
    assert documents.expect.contains == ["140 euros"]


def worse_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the passages' numbers out of the prompt."""
    numbered = chain._format_passage
    monkeypatch.setattr(
        chain, "_format_passage", lambda number, hit: re.sub(" number=.*?>", ">", numbered(number, hit))
    )


def cut_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the chunks of tables within a row."""

    def read(path: Path, start: int = 0) -> Iterator[ParsedChunk]:
        return (
            replace(chunk, text=chunk.text[:30]) if "; " in chunk.text else chunk for chunk in read_chunks(path, start)
        )

    monkeypatch.setattr(job, "read_chunks", read)


def rename_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calculator, "name", "compute")


@pytest.mark.parametrize(
    ("plant", "dataset", "example", "failing"),
    [
        (worse_prompt, RAG, "hotel", {"contains", "cites", "citations"}),
        (cut_tables, RAG, "filter-price", {"contains", "cites", "retrieves"}),
        (rename_tool, AGENT, "multiply", {"tools"}),
    ],
)
def test_planted_fault_fails(
    serve: Evaluated,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plant: Plant,
    dataset: str,
    example: str,
    failing: set[str],
) -> None:
    plant(monkeypatch)
    with serve() as url:
        assert main(["eval", dataset, "--only", example, "--url", url, "--output", str(tmp_path)]) == 1

    report: Any = json.loads((tmp_path / f"{Path(dataset).stem}.json").read_text())
    (trial,) = report["trials"]
    failed = {name for name, score in trial["scores"].items() if score["value"] < 1}
    assert failed == failing, capsys.readouterr().out


def test_wrong_address_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    assert main(["eval", AGENT, "--url", url]) == 2
    assert capsys.readouterr().err.startswith("error: ")
