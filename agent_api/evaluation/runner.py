"""Run the examples of a dataset over LangGraph's API, which any of its servers has."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import httpx
import httpx2
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Command, Config

from agent_api.evaluation.dataset import Example
from agent_api.evaluation.outcome import Outcome, read_outcome
from project4_agent_api.core.model_usage import Cost
from shared.errors import ConfigurationError

_MAX_QUESTIONS = 20  # about tool calls, in one turn
_READY_SECONDS = 600.0  # until a document is searchable


@dataclass(frozen=True)
class Trial:
    """One run of an example."""

    example: Example
    repetition: int
    outcome: Outcome


@dataclass
class Runner:
    """Runs examples.

    Attributes:
        slots: As many as there may be runs at once.
        keep: Whether the threads stay, so that the runs can be looked at.
    """

    client: LangGraphClient
    assistant: str
    dataset: str
    slots: asyncio.Semaphore
    keep: bool

    async def run(self, examples: Sequence[Example], repetitions: int) -> list[Trial]:
        """Run each example as often as asked."""
        numbers = range(1, repetitions + 1)
        trials = [asyncio.create_task(self._run(example, number)) for number in numbers for example in examples]
        try:
            return await asyncio.gather(*trials)
        finally:  # after an error, the others delete their threads while the client is open
            for trial in trials:
                trial.cancel()
            await asyncio.gather(*trials, return_exceptions=True)

    async def _run(self, example: Example, repetition: int) -> Trial:
        async with self.slots:
            metadata = {"dataset": self.dataset, "example": example.id, "repetition": repetition}
            thread = await self.client.threads.create(metadata=metadata)
            try:
                return Trial(example, repetition, await self._converse(example, thread["thread_id"]))
            finally:
                if not self.keep:
                    await self.client.threads.delete(thread["thread_id"])

    async def _converse(self, example: Example, thread_id: str) -> Outcome:
        """Run the turns of an example; the outcome is that of the last one, or of the first that fails."""
        started = time.perf_counter()
        outcome, runs = Outcome(), list[str]()
        for turn in example.turns:
            values, error = await self._turn(example, turn, thread_id, runs)
            seconds = time.perf_counter() - started
            run_id = runs[-1] if runs else ""
            outcome = read_outcome(values, error=error, seconds=seconds, thread_id=thread_id, run_id=run_id)
            if error:
                break
        return replace(outcome, costs=[cost for run in runs if (cost := await self._cost(run))])

    async def _cost(self, run_id: str) -> Cost | None:
        """Return what a run cost; None without model calls, or from a server that has no route for it."""
        try:
            run = await self.client.http.get(f"/runs/{run_id}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                return None
            raise
        cost = run.get("cost") if isinstance(run, dict) else None
        return Cost.model_validate(cost) if cost else None

    async def _turn(
        self, example: Example, turn: str | dict[str, Any], thread_id: str, runs: list[str]
    ) -> tuple[Any, str]:
        """Run a turn with the answers to its questions, and return the state or an error. Ids are added to `runs`."""
        given: Any = {"messages": [{"role": "user", "content": turn}]} if isinstance(turn, str) else turn
        command: Command | None = None
        for _ in range(_MAX_QUESTIONS):
            result = await self.client.runs.wait(
                thread_id,
                self.assistant,
                input=given,
                command=command,
                config=cast("Config", example.config),
                raise_error=False,
                on_run_created=lambda run: runs.append(run["run_id"]),
            )
            parts = result if isinstance(result, dict) else {}
            if error := parts.get("__error__"):
                return None, _describe_error(error)
            questions = parts.get("__interrupt__")
            if not questions:
                state = await self.client.threads.get_state(thread_id)
                return state["values"], ""
            if example.decide is None:
                return None, "the run asks for approval, and the example has no `decide`"
            if not all(isinstance(question.get("value"), dict) for question in questions):
                return None, "the run asks a question that is not about tool calls, which `decide` cannot answer"
            given, command = None, Command(resume=_decisions(questions, example.decide))
        return None, f"the run asked for approval more than {_MAX_QUESTIONS} times"


def _describe_error(error: Any) -> str:  # noqa: ANN401  any JSON
    if isinstance(error, dict):
        return ": ".join(str(error[name]) for name in ("error", "message") if error.get(name)) or "the run failed"
    return str(error)


def _decisions(questions: Sequence[dict[str, Any]], decision: str) -> dict[str, Any]:
    """Decide on every call that LangChain's middleware asks about, by interrupt."""
    return {
        question["id"]: {"decisions": [{"type": decision} for _ in question["value"].get("action_requests", [None])]}
        for question in questions
    }


@asynccontextmanager
async def uploaded(http: httpx2.AsyncClient, files: Sequence[Path]) -> AsyncIterator[None]:
    """Upload the documents that the user does not have, wait until they are searchable, and delete them at the end.

    Raises:
        ConfigurationError: if one is refused, or cannot be read.
    """
    added: list[str] = []
    try:
        for file in files:
            response = await http.post("/documents", files={"file": (file.name, file.read_bytes())})
            if response.is_error:
                raise ConfigurationError(f"{file.name} is refused: {response.status_code} {response.text[:200]}")
            if response.status_code == HTTPStatus.ACCEPTED:  # else the user has it already
                added.append(response.json()["id"])
        for document_id in added:
            await _until_ready(http, document_id)
        yield
    finally:
        for document_id in added:
            await http.delete(f"/documents/{document_id}")


async def _until_ready(http: httpx2.AsyncClient, document_id: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        response = await http.get(f"/documents/{document_id}")
        document = response.raise_for_status().json()
        if document["status"] == "ready":
            return
        if document["status"] == "failed" or time.monotonic() > deadline:
            raise ConfigurationError(f"{document['filename']}: {document.get('error') or document['status']}")
        await asyncio.sleep(0.2)


def explain(error: httpx.HTTPError) -> str:
    """Return one line about a failed request of the SDK."""
    if isinstance(error, httpx.HTTPStatusError):
        return (
            f"{error.request.method} {error.request.url.path}: {error.response.status_code} {error.response.text[:200]}"
        )
    return f"{error.request.url}: {str(error) or type(error).__name__}"
