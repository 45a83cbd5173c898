"""An evaluation: scorers, and the mean of each score over examples."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A run's answer, and the names of the tools that it called, in order."""

    answer: str
    tools: Sequence[str] = ()


@dataclass(frozen=True)
class Example:
    """A question, and the expectations of its run. Without an expectation there is no such score."""

    question: str
    contains: Sequence[str] | None = None
    tools: Sequence[str] | None = None


def contains(texts: Sequence[str], outcome: Outcome) -> str:
    """Return an empty string if all texts are in the answer, otherwise a reason that names the missing ones.

    Upper and lower case are the same, and so are line breaks and runs of spaces.
    """
    answer = _normalize(outcome.answer)
    missing = [text for text in texts if _normalize(text) not in answer]
    return f"missing: {', '.join(missing)}" if missing else ""


def _normalize(text: str) -> str:
    return re.sub(r"\s+", " ", text).casefold()


def tools(names: Sequence[str], outcome: Outcome) -> str:
    """Return an empty string if these tools were called in this order, otherwise a reason.

    Others may have been called in between. No names: no tool may have been called at all.
    """
    if not names and outcome.tools:
        return f"called: {', '.join(outcome.tools)}"
    called = iter(outcome.tools)
    missing = next((name for name in names if name not in called), None)
    return f"{missing} is missing or comes too early" if missing else ""


SCORERS: Mapping[str, Callable[[Sequence[str], Outcome], str]] = {"contains": contains, "tools": tools}


def evaluate(examples: Sequence[Example], run: Callable[[str], Outcome]) -> dict[str, float]:
    """Run each example, and return the mean of each score over the examples that expect something of it.

    A score is 1 or 0. A run that raises has 0 in all of its example's scores: the evaluation goes on.
    """
    values: dict[str, list[int]] = {}
    for example in examples:
        try:
            outcome = run(example.question)
        except Exception:  # noqa: BLE001  a run may fail in any way
            outcome = None
        for name, scorer in SCORERS.items():
            expected = getattr(example, name)
            if expected is not None:
                passed = outcome is not None and not scorer(expected, outcome)
                values.setdefault(name, []).append(int(passed))
    return {name: sum(of) / len(of) for name, of in values.items()}
