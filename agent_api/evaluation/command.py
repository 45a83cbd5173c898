"""`agent-api eval`: run datasets against an assistant, and report the scores.

Without `--url`, a service of its own runs meanwhile, with embedded services for the addresses that the environment does
not name. It serves the project in this folder, or else the built-in assistants.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import httpx
import httpx2
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langgraph_sdk import get_client
from pydantic import TypeAdapter, ValidationError

from agent_api.command import PACKAGE
from agent_api.evaluation.dataset import Dataset, load_dataset
from agent_api.evaluation.judge import judge
from agent_api.evaluation.report import (
    Comparison,
    JudgeRecord,
    Report,
    ScoreRecord,
    TrialRecord,
    page,
    read_report,
    table,
)
from agent_api.evaluation.runner import Runner, Trial, explain, uploaded
from agent_api.evaluation.scorers import score
from agent_api.project import DATA, enter
from local.launcher import Stage, configured_environment, launch_package
from local.services import base_url
from local.state import StageState
from project4_agent_api.core.model_usage import Prices
from project4_agent_api.settings import ModelPrice
from shared.errors import ConfigurationError

_TIMEOUT_SECONDS = 600.0
_PRICES = TypeAdapter(dict[str, ModelPrice])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET", help="a YAML file, or JSON lines")
    parser.add_argument("-c", "--config", type=Path, help="a langgraph.json; default: that of this folder, if any")
    parser.add_argument("--url", help="a running server of LangGraph's API, instead of one of its own")
    parser.add_argument("--key", help="its API key; default: the variable LANGGRAPH_API_KEY")
    parser.add_argument("--assistant", help="an assistant or graph, instead of the dataset's")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="examples whose id matches, such as 'refund*'")
    parser.add_argument("--repetitions", type=_positive, default=1, help="runs of each example; default: 1")
    parser.add_argument("--concurrency", type=_positive, default=2, help="runs and judged answers at once; default: 2")
    parser.add_argument("--version", dest="label", help="a name of this version; default: the Git commit")
    parser.add_argument("--output", type=_absolute, metavar="FOLDER", help="write NAME.json and NAME.html there")
    parser.add_argument("--baseline", type=_absolute, metavar="FOLDER", help="compare with the reports there")
    parser.add_argument("--judge", metavar="MODEL", help="a model at OPENAI_BASE_URL for the criteria `judge`")
    parser.add_argument("--keep", action="store_true", help="keep the threads, with the scores as feedback on the runs")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _absolute(text: str) -> Path:
    return Path(text).absolute()  # the working folder becomes that of the project


@dataclass(frozen=True)
class _Plan:
    arguments: argparse.Namespace
    datasets: list[tuple[Dataset, list[Path]]]
    baselines: list[Report | None]
    judge: BaseChatModel | None


def run(arguments: argparse.Namespace) -> int:
    """Evaluate. The exit status is 1 if a score is below its required mean, or worse than the baseline's."""
    datasets = [load_dataset(path, arguments.only) for path in arguments.datasets]
    for path, (dataset, _) in zip(arguments.datasets, datasets, strict=True):
        if all(example.skip is not None for example in dataset.examples):
            raise ConfigurationError(f"{path}: all examples are skipped")
    names = [dataset.name for dataset, _ in datasets]
    if len(set(names)) < len(names):
        raise ConfigurationError("several datasets have the same name")
    folder: Path | None = arguments.baseline
    baselines = [read_report(folder / f"{name}.json") if folder else None for name in names]
    plan = _Plan(arguments, datasets, baselines, _create_judge(arguments.judge))
    if arguments.url:
        return asyncio.run(_evaluate(plan, arguments.url))
    return _evaluate_own_service(plan)


def _create_judge(name: str | None) -> BaseChatModel | None:
    if name is None:
        return None
    if not os.environ.get("OPENAI_API_KEY") and not os.environ.get("OPENAI_BASE_URL"):
        raise ConfigurationError("--judge: OPENAI_BASE_URL or OPENAI_API_KEY names the judge's endpoint")
    from langchain_openai import ChatOpenAI  # noqa: PLC0415  takes a second

    return ChatOpenAI(model=name, temperature=0)


def _evaluate_own_service(plan: _Plan) -> int:
    arguments = plan.arguments
    config = arguments.config or (Path("langgraph.json") if Path("langgraph.json").is_file() else None)
    state = StageState("eval")
    if config is not None:
        config = enter(config)
        state = StageState("eval", DATA / "eval")
    environment = configured_environment() | {
        "APP_ENV": "development",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "AUTH_REQUIRED": "false",
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "LOG_LEVEL": "WARNING",
        "SHUTDOWN_TIMEOUT_SECONDS": "1",
        "CACHE_ENABLED": "false",  # each repetition asks the model
        "LANGGRAPH_CONFIG": str(config or ""),
    }

    async def evaluate(stage: Stage) -> int:
        try:
            return await _evaluate(plan, base_url(stage.app.sockets[0]))
        except ConfigurationError as error:  # which the launcher would wrap into a group
            print(f"error: {error}", file=sys.stderr)
            return 2

    return launch_package(PACKAGE, state, environment, job=evaluate)


async def _evaluate(plan: _Plan, url: str) -> int:
    arguments = plan.arguments
    key = arguments.key or os.environ.get("LANGGRAPH_API_KEY")
    status = 0
    try:
        async with (
            get_client(url=url, api_key=key, timeout=_TIMEOUT_SECONDS) as client,
            httpx2.AsyncClient(
                base_url=url, headers={"X-Api-Key": key} if key else {}, timeout=_TIMEOUT_SECONDS
            ) as http,
        ):
            for (dataset, documents), baseline in zip(plan.datasets, plan.baselines, strict=True):
                assistant = arguments.assistant or dataset.assistant
                runner = Runner(
                    client, assistant, dataset.name, asyncio.Semaphore(arguments.concurrency), arguments.keep
                )
                async with uploaded(http, documents):
                    examples = [example for example in dataset.examples if example.skip is None]
                    trials = await runner.run(examples, arguments.repetitions)
                report = await _score(plan, dataset, assistant, trials)
                status |= _present(report, baseline, arguments.output)
                if arguments.keep:
                    await _give_feedback(http, report)
    except httpx.HTTPError as error:
        raise ConfigurationError(explain(error)) from None
    except httpx2.HTTPError as error:
        raise ConfigurationError(f"{url}: {str(error) or type(error).__name__}") from None
    except json.JSONDecodeError:
        raise ConfigurationError(f"{url}: the answer is not JSON; is this a server of LangGraph's API?") from None
    return status


async def _score(plan: _Plan, dataset: Dataset, assistant: str, trials: Sequence[Trial]) -> Report:
    # `--concurrency` bounds the judge as it bounds the runs.
    free, usage = asyncio.Semaphore(plan.arguments.concurrency), UsageMetadataCallbackHandler()
    records = await asyncio.gather(*(_record(plan.judge, trial, free, usage) for trial in trials))
    names = {name for record in records for name in record.scores}
    judged = [example.id for example in dataset.examples if example.expect and example.expect.judge]
    return Report(
        dataset=dataset.name,
        assistant=assistant,
        version=plan.arguments.label or _commit(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        required={name: dataset.required(name) for name in names},
        skipped={example.id: example.skip for example in dataset.examples if example.skip is not None},
        not_judged=[] if plan.judge else judged,
        judge=JudgeRecord.from_usage(usage.usage_metadata, _prices()),
        trials=records,
    )


def _prices() -> Prices:
    """Return the prices of the environment, which are those of the judge."""
    environment = configured_environment()
    try:
        by_model = _PRICES.validate_json(environment.get("LLM_PRICES", "{}"))
    except ValidationError as error:
        raise ConfigurationError(f"LLM_PRICES: {error.errors()[0]['msg']}") from None
    return Prices(by_model, environment.get("LLM_PRICES_CURRENCY", "USD"))


async def _record(
    model: BaseChatModel | None, trial: Trial, free: asyncio.Semaphore, usage: UsageMetadataCallbackHandler
) -> TrialRecord:
    expect, outcome = trial.example.expect, trial.outcome
    if expect is None:
        raise ValueError("an example without expectations is not run")
    question = trial.example.turns[-1] if isinstance(trial.example.turns[-1], str) else str(trial.example.turns[-1])
    scores = score(expect, outcome)
    if expect.judge and model is not None:
        async with free:
            scores.append(await judge(model, question, outcome, expect.judge, usage))
    return TrialRecord(
        example=trial.example.id,
        repetition=trial.repetition,
        question=question,
        answer=outcome.answer,
        tools=[call["name"] for call in outcome.calls],
        tokens=outcome.tokens,
        costs=list(outcome.costs),
        seconds=round(outcome.seconds, 3),
        thread_id=outcome.thread_id,
        run_id=outcome.run_id,
        scores={score.name: ScoreRecord(value=score.value, reason=score.reason) for score in scores},
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unnamed"


async def _give_feedback(http: httpx2.AsyncClient, report: Report) -> None:
    """Store the scores as feedback on the runs, if the server takes feedback."""
    for trial in report.trials:
        if not trial.run_id:  # the server did not name it
            continue
        for name, given in trial.scores.items():
            body = {
                "run_id": trial.run_id,
                "key": f"eval_{name}",
                "score": given.value,
                "comment": given.reason or None,
            }
            response = await http.post("/feedback", json=body)
            if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                print("  - the scores are not stored: the server takes no feedback on these runs")
                return
            if response.is_error:
                raise ConfigurationError(f"POST /feedback: {response.status_code} {response.text[:200]}")


def _present(report: Report, baseline: Report | None, folder: Path | None) -> int:
    comparison = Comparison(baseline, report) if baseline else None
    print("\n".join(table(report, comparison)), flush=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{report.dataset}.json").write_text(report.model_dump_json(indent=1), "utf-8")
        (folder / f"{report.dataset}.html").write_text(page(report, comparison), "utf-8")
    worse = comparison.worse() if comparison else []
    for name in worse:
        print(f"  ✗ {name} is worse than before")
    return 1 if report.failures() or worse else 0
