"""Deterministic scores of one answer: 1 if it meets the expectation, 0 otherwise, and a reason."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import jsonschema

from agent_api.evaluation.dataset import Expectation, ExpectedCall, Retrieved, Trajectory
from agent_api.evaluation.outcome import Outcome, Passage
from project3_rag_docs.answers.citations import no_answer_text

_REFUSAL = re.compile(
    r"do(?:es)? not (?:say|contain|mention|provide|specify|include|know)"
    r"|(?:don['’]t|cannot|can['’]t|could not|couldn['’]t|unable to) (?:know|find|answer|determine|say)"
    r"|no (?:information|mention|answer)|not (?:mentioned|specified|stated|provided|found)"
    r"|没有提到|未提及|没有提及|没有说明|没有相关|未找到|找不到|无法(?:回答|确定|得知)|不知道",
    re.IGNORECASE,
)
_MARKER = re.compile(r"\[(\d{1,3})\]")
_FENCED = re.compile(r"```[\w+-]*\s*\n(.*?)```", re.DOTALL)
_QUOTE_LENGTH = 120


@dataclass(frozen=True)
class Score:
    """A score of an answer; `reason` says why it is 0."""

    name: str
    value: float
    reason: str = ""


def score(expect: Expectation, outcome: Outcome) -> list[Score]:
    """Return the scores of an answer: one for each expectation, except those that need a judge.

    Without an answer each of them is 0: a run that failed is no success of `excludes`.
    """
    names = [name for name in _SCORERS if name in expect.model_fields_set]
    if outcome.error:
        return [Score("answered", 0, outcome.error), *(Score(name, 0, outcome.error) for name in names)]
    scores = [Score("answered", 1)]
    for name in names:
        reason = _SCORERS[name](getattr(expect, name), outcome)
        scores.append(Score(name, 0 if reason else 1, reason))
    return scores


def _normalize(text: str) -> str:
    return " ".join(text.split()).casefold()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_LENGTH else f"{line[:_QUOTE_LENGTH]}…"


def _contains(texts: Sequence[str], outcome: Outcome) -> str:
    missing = [text for text in texts if _normalize(text) not in _normalize(outcome.answer)]
    return f"{missing} not in {_short(outcome.answer)!r}" if missing else ""


def _contains_any(texts: Sequence[str], outcome: Outcome) -> str:
    found = any(_normalize(text) in _normalize(outcome.answer) for text in texts)
    return "" if found else f"none of {list(texts)} in {_short(outcome.answer)!r}"


def _excludes(texts: Sequence[str], outcome: Outcome) -> str:
    found = [text for text in texts if _normalize(text) in _normalize(outcome.answer)]
    return f"{found} in {_short(outcome.answer)!r}" if found else ""


def _equals(text: str, outcome: Outcome) -> str:
    return "" if _normalize(text) == _normalize(outcome.answer) else f"{_short(outcome.answer)!r}"


def _regex(pattern: str, outcome: Outcome) -> str:
    return "" if re.search(pattern, outcome.answer) else f"no match in {_short(outcome.answer)!r}"


def _json_schema(schema: Mapping[str, Any], outcome: Outcome) -> str:
    fenced = _FENCED.search(outcome.answer)
    try:
        value = json.loads(fenced[1] if fenced else outcome.answer)
    except ValueError:
        return f"not JSON: {_short(outcome.answer)!r}"
    fault = jsonschema.validators.validator_for(schema)(schema).iter_errors(value)
    return next((f"{error.json_path}: {_short(error.message)}" for error in fault), "")


def _tools(expected: Trajectory, outcome: Outcome) -> str:
    calls = list(outcome.calls)
    called = f"called {[call['name'] for call in calls]}"
    if expected.mode == "any_order":
        for wanted in expected.calls:
            match = next((call for call in calls if _is_call(wanted, call)), None)
            if match is None:
                return f"{wanted.name} is missing: {called}"
            calls.remove(match)
        return ""
    if expected.mode == "exact" and len(calls) != len(expected.calls):
        return called
    rest = iter(calls)
    for wanted in expected.calls:
        following = [next(rest, {})] if expected.mode == "exact" else rest
        if not any(_is_call(wanted, call) for call in following):
            return f"{wanted.name} is missing: {called}"
    return ""


def _is_call(wanted: ExpectedCall, call: Mapping[str, Any]) -> bool:
    args = call.get("args") or {}
    return call.get("name") == wanted.name and all(
        name in args and _is_argument(value, args[name]) for name, value in wanted.args.items()
    )


def _is_argument(wanted: object, value: object) -> bool:
    if isinstance(wanted, str) and isinstance(value, str):
        return _normalize(wanted) == _normalize(value)
    return wanted == value


def _cites(documents: Sequence[str], outcome: Outcome) -> str:
    cited = {str(citation.get("filename")) for citation in outcome.cited()}
    missing = [name for name in documents if not any(fnmatchcase(filename, name) for filename in cited)]
    return f"{missing} is not cited: {sorted(cited)}" if missing else ""


def _citations(_: str, outcome: Outcome) -> str:
    """Check that each marker has a citation, each citation a marker, and each quote stands in its passage."""
    cited = outcome.cited()
    markers = {int(number) for number in _MARKER.findall(outcome.answer)}
    if not markers:
        return "the answer cites nothing"
    if unresolved := markers - {citation["marker"] for citation in cited}:
        return f"no citation for {sorted(unresolved)}"
    passages = {passage.chunk_id: _letters(passage.text) for passage in outcome.passages}
    for citation in cited:
        text = passages.get(str(citation.get("chunk_id")))
        quote = str(citation.get("quote") or "")
        if text is not None and not (quote and _letters(quote) in text):
            return f"[{citation['marker']}] is no quote from its passage: {_short(quote)!r}"
    return ""


def _letters(text: str) -> str:
    """Drop spaces: the lines of a quote are joined."""
    return "".join(text.split())


def _retrieves(wanted: Sequence[Retrieved], outcome: Outcome) -> str:
    if not outcome.passages:
        return "the run found no passages"
    for expected in wanted:
        if not any(_is_passage(expected, passage) for passage in outcome.passages[: expected.top]):
            found = list(dict.fromkeys(passage.document for passage in outcome.passages[: expected.top]))
            return f"{expected.document or expected.text!r} is not in the top {expected.top}: {found}"
    return ""


def _is_passage(wanted: Retrieved, passage: Passage) -> bool:
    return (wanted.document is None or fnmatchcase(passage.document, wanted.document)) and (
        wanted.text is None or _normalize(wanted.text) in _normalize(passage.text)
    )


def _refuses(expected: bool, outcome: Outcome) -> str:
    refusals = {no_answer_text("a"), no_answer_text("问")}
    refused = outcome.answer.strip() in refusals or (
        not _MARKER.search(outcome.answer) and bool(_REFUSAL.search(outcome.answer))
    )
    if refused is expected:
        return ""
    return f"{'answered' if expected else 'refused'}: {_short(outcome.answer)!r}"


_SCORERS: Mapping[str, Callable[[Any, Outcome], str]] = {
    "contains": _contains,
    "contains_any": _contains_any,
    "excludes": _excludes,
    "equals": _equals,
    "regex": _regex,
    "json_schema": _json_schema,
    "tools": _tools,
    "cites": _cites,
    "citations": _citations,
    "retrieves": _retrieves,
    "refuses": _refuses,
}


def names() -> Iterator[str]:
    """Yield the names of all scores."""
    yield "answered"
    yield from _SCORERS
    yield "judge"
