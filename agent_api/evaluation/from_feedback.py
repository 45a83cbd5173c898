"""`agent-api dataset`: turn rated runs into a dataset.

The conversation up to a rated run becomes an example. The rating determines its expectations: a good answer's tool
calls and cited documents, or a bad answer's correction. Without either, the example is skipped until its `expect` is
written.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import yaml

from agent_api.evaluation.dataset import Dataset
from agent_api.evaluation.outcome import read_outcome
from shared.errors import ConfigurationError

Json = Mapping[str, Any]

_PAGE = 100
_STATES = 1000
_GOOD = 0.5  # the lowest score of a good answer
_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--url", required=True, help="the server with the rated runs")
    parser.add_argument("--key", help="its API key; default: the variable LANGGRAPH_API_KEY")
    parser.add_argument("--feedback", metavar="KEY", help="only feedback with this key, such as user_score")
    parser.add_argument("--max-score", type=float, help="only feedback with at most this score")
    parser.add_argument("--min-score", type=float, help="only feedback with at least this score")
    parser.add_argument("--limit", type=int, default=100, help="the newest so many; default: 100")
    parser.add_argument("--assistant", default="agent", help="the dataset's assistant; default: agent")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")


def run(arguments: argparse.Namespace) -> int:
    """Write the dataset. The status is 1 if no run is rated."""
    examples = asyncio.run(_read(arguments))
    if not examples:
        print("no run is rated in this way", file=sys.stderr)
        return 1
    content = {"assistant": arguments.assistant, "examples": examples}
    Dataset.model_validate(content)
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=120)
    if arguments.output is None:
        print(text, end="")
        return 0
    if arguments.output.exists():
        raise ConfigurationError(f"--output: {arguments.output} exists")
    arguments.output.write_text(text, "utf-8")
    skipped = sum("skip" in example for example in examples)
    print(f"{arguments.output}: {len(examples)} examples, of which {skipped} need their `expect`")
    return 0


async def _read(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    key = arguments.key or os.environ.get("LANGGRAPH_API_KEY")
    headers = {"X-Api-Key": key} if key else {}
    try:
        async with httpx2.AsyncClient(base_url=arguments.url, headers=headers, timeout=_SECONDS) as http:
            rated: dict[str, dict[str, Any]] = {}
            async for feedback in _feedback(http, arguments):
                if feedback["run_id"] not in rated:
                    rated[feedback["run_id"]] = await _example(http, feedback)
            return list(rated.values())
    except httpx2.HTTPError as error:
        raise ConfigurationError(f"{arguments.url}: {str(error) or type(error).__name__}") from None
    except json.JSONDecodeError:
        raise ConfigurationError(f"{arguments.url}: the answer is not JSON; is this a server with feedback?") from None


async def _feedback(http: httpx2.AsyncClient, arguments: argparse.Namespace) -> AsyncIterator[Json]:
    """Yield feedback, newest first, without the scores of evaluations."""
    wanted = {"key": arguments.feedback, "min_score": arguments.min_score, "max_score": arguments.max_score}
    query = {name: str(value) for name, value in wanted.items() if value is not None}
    taken = offset = 0
    while found := await _get(http, "/feedback", query | {"limit": str(_PAGE), "offset": str(offset)}):
        for feedback in found:
            if arguments.feedback is None and feedback["key"].startswith("eval_"):
                continue
            if taken == arguments.limit:
                return
            taken += 1
            yield feedback
        offset += len(found)


async def _example(http: httpx2.AsyncClient, feedback: Json) -> dict[str, Any]:
    values = await _state_after(http, feedback["thread_id"], feedback["run_id"])
    messages = values.get("messages") if isinstance(values, dict) else None
    turns = [
        message["content"]
        for message in messages or []
        if isinstance(message, dict) and message.get("type") == "human" and isinstance(message.get("content"), str)
    ]
    example: dict[str, Any] = {"id": feedback["run_id"]}
    example |= {"input": turns[0]} if len(turns) == 1 else {"turns": turns or ["(the input is no text)"]}
    expect = expectation(feedback, values) if turns else {}
    if expect:
        return example | {"expect": expect}
    rating = f"rated {feedback['score']:g}" if feedback["score"] is not None else f"rated {feedback['value']!r}"
    comment = f": {feedback['comment']}" if feedback["comment"] else ""
    return example | {"skip": f"{rating}{comment}; its `expect` is missing"}


def expectation(feedback: Json, values: Any) -> dict[str, Any]:  # noqa: ANN401  a graph's state has any type
    """Return what a rating says about right answers: a bad one's correction, or a good one's tools and documents."""
    correction = feedback["correction"]
    if isinstance(correction, str) and correction:
        return {"contains": [correction]}
    if feedback["score"] is None or feedback["score"] < _GOOD:
        return {}
    outcome = read_outcome(values)
    expect: dict[str, Any] = {}
    if outcome.calls:
        expect["tools"] = [call["name"] for call in outcome.calls]
    if cited := list(dict.fromkeys(str(citation.get("filename")) for citation in outcome.cited())):
        expect["cites"] = cited
    return expect


async def _state_after(http: httpx2.AsyncClient, thread_id: str, run_id: str) -> Any:  # noqa: ANN401  any JSON
    """Return the thread's values after a run, which later runs may have changed since."""
    before: str | None = None
    while True:
        body = {"limit": _STATES} | ({"before": before} if before else {})
        response = await http.post(f"/threads/{thread_id}/history", json=body)
        _check(response)
        states = response.json()
        for state in states:  # newest first
            if (state.get("metadata") or {}).get("run_id") == run_id:
                return state["values"]
        if len(states) < _STATES:
            return {}
        before = states[-1]["checkpoint"]["checkpoint_id"]


async def _get(http: httpx2.AsyncClient, path: str, query: Mapping[str, str]) -> list[Json]:
    response = await http.get(path, params=dict(query))
    _check(response)
    found: list[Json] = response.json()
    return found


def _check(response: httpx2.Response) -> None:
    if response.is_error:
        request = response.request
        raise ConfigurationError(f"{request.method} {request.url.path}: {response.status_code} {response.text[:200]}")
