"""The report of an evaluation: as JSON for comparisons, as a table for the terminal, and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Annotated

from langchain_core.messages.ai import UsageMetadata
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_api.evaluation import scorers
from agent_api.evaluation.statistics import Interval, difference, interval
from project4_agent_api.core.model_usage import Cost, Prices, Tokens, UsageByModel
from shared.errors import ConfigurationError


class ScoreRecord(BaseModel):
    """A score of a trial."""

    value: float
    reason: str = ""


class TrialRecord(BaseModel):
    """A trial with its scores, by their name."""

    example: str
    repetition: int
    question: str
    answer: str
    tools: list[str] = []
    tokens: int = 0
    costs: list[Cost] = []
    seconds: float = 0.0
    thread_id: str = ""
    run_id: str = ""
    scores: dict[str, ScoreRecord]


class JudgeRecord(BaseModel):
    """The tokens of the judge's calls, and their cost at the prices in this environment."""

    tokens: int
    cost: Cost

    @classmethod
    def from_usage(cls, usage: Mapping[str, UsageMetadata], prices: Prices) -> "JudgeRecord | None":
        """Add up the usage of models, by their names; None without a call."""
        by_model = UsageByModel()
        for model, of_model in usage.items():
            by_model.add_tokens(model, Tokens.from_usage(of_model))
        return cls(tokens=by_model.tokens.total, cost=prices.cost(by_model)) if by_model else None


class Report(BaseModel):
    """The trials of an evaluation.

    Attributes:
        version: The user's label of the evaluated version.
        required: The lowest mean of each score.
        skipped: Reasons of the examples that were not run.
        not_judged: Examples with criteria for a judge, when there was none.
        judge: The judge's usage, which that of the trials does not contain.
    """

    model_config = ConfigDict(extra="forbid")

    dataset: str
    assistant: str
    version: str
    created_at: str
    required: dict[str, float]
    skipped: dict[str, str] = {}
    not_judged: list[str] = []
    judge: JudgeRecord | None = None
    trials: Annotated[list[TrialRecord], Field(min_length=1)]

    def score_names(self) -> list[str]:
        """Return the names of the scores that occur."""
        return [name for name in scorers.names() if any(name in trial.scores for trial in self.trials)]

    def means(self, name: str) -> dict[str, float]:
        """Return the mean of a score for each example that has it."""
        values: dict[str, list[float]] = {}
        for trial in self.trials:
            if name in trial.scores:
                values.setdefault(trial.example, []).append(trial.scores[name].value)
        return {example: sum(of) / len(of) for example, of in values.items()}

    def interval(self, name: str) -> Interval:
        """Return the mean of a score over the examples."""
        return interval(list(self.means(name).values()))

    def cost(self) -> str:
        """Describe the tokens and the cost of all trials, then those of the judge."""
        tokens = f"{sum(trial.tokens for trial in self.trials):,} tokens"
        parts = [tokens, *describe_costs([cost for trial in self.trials for cost in trial.costs])]
        if self.judge:
            parts += [f"judge: {self.judge.tokens:,} tokens", *describe_costs([self.judge.cost])]
        return ", ".join(parts)

    def failures(self) -> list[str]:
        """Return the names of the scores whose mean is below the required one."""
        return [name for name in self.score_names() if self.interval(name).mean < self.required[name] - 1e-9]


def describe_costs(costs: Sequence[Cost]) -> list[str]:
    """Return the sum of costs, and the models without a price; nothing if no run had model calls."""
    amounts = [cost.amount for cost in costs if cost.amount is not None]
    unpriced = sorted({model for cost in costs for model in cost.unpriced_models})
    return [
        *([f"{sum(amounts):.6f}".rstrip("0").rstrip(".") + f" {costs[0].currency}"] if amounts else []),
        *([f"no price for {', '.join(unpriced)}"] if unpriced else []),
    ]


def read_report(path: Path) -> Report:
    """Read the report of an earlier evaluation.

    Raises:
        ConfigurationError: if it cannot be read.
    """
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except ValidationError:
        raise ConfigurationError(f"{path}: is no report of `agent-api eval`") from None


class Comparison:
    """Two reports on the same examples."""

    def __init__(self, before: Report, after: Report) -> None:
        self.before, self.after = before, after

    def difference(self, name: str) -> tuple[Interval, int] | None:
        """Return the change of a score and its number of common examples; None without any."""
        old, new = self.before.means(name), self.after.means(name)
        common = [example for example in new if example in old]
        if not common:
            return None
        return difference([old[example] for example in common], [new[example] for example in common]), len(common)

    def worse(self) -> list[str]:
        """Return the scores that fell by more than chance explains: the whole interval is below 0."""
        changes = {name: self.difference(name) for name in self.after.score_names()}
        return [name for name, change in changes.items() if change and change[0].high < 0]

    def changed_examples(self) -> list[tuple[str, str, float, float]]:
        """Return example, score, and both means, where a mean has changed."""
        return [
            (example, name, old[example], mean)
            for name in self.after.score_names()
            if (old := self.before.means(name))
            for example, mean in self.after.means(name).items()
            if example in old and old[example] != mean
        ]


def table(report: Report, comparison: Comparison | None) -> Iterator[str]:
    """Yield the lines of the report for a terminal."""
    examples = {trial.example for trial in report.trials}
    repetitions = max(trial.repetition for trial in report.trials)
    noun = "example" if len(examples) == 1 else "examples"
    yield f"{report.dataset}: assistant {report.assistant}, {len(examples)} {noun} × {repetitions}"
    yield f"  {report.cost()}" + (f"; before: {comparison.before.cost()}" if comparison else "")
    rows = [("score", "mean", "95 %", "required", *(("before", "change") if comparison else ()))]
    rows.extend(tuple(_cells(report, comparison, name)) for name in report.score_names())
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for trial in report.trials:
        for name, given in trial.scores.items():
            if given.value < 1 and (name != "answered" or given.reason):
                yield f"  ✗ {trial.example} #{trial.repetition} {name}: {given.reason}"
    for example, reason in report.skipped.items():
        yield f"  - {example} was skipped: {reason}"
    if report.not_judged:
        yield f"  - not judged without --judge: {', '.join(report.not_judged)}"


def _cells(report: Report, comparison: Comparison | None, name: str) -> Iterator[str]:
    found = report.interval(name)
    yield name
    yield f"{found.mean:.3f}"
    yield f"{found.low:.2f}–{found.high:.2f}"
    yield f"{report.required[name]:.2f}" + (" ✗" if name in report.failures() else "")
    if comparison:
        change = comparison.difference(name)
        yield f"{comparison.before.interval(name).mean:.3f}" if change else "–"
        yield f"{change[0].mean:+.3f} ({change[0].low:+.2f} to {change[0].high:+.2f})" if change else "–"


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{border-bottom:1px solid #8886;padding:.35rem .6rem;text-align:left;vertical-align:top}
.bad{color:#c2261d;font-weight:600}.good{color:#1a7f37}details{margin:.3rem 0}small{opacity:.75}
pre{white-space:pre-wrap;margin:.3rem 0;font:inherit}
"""


def page(report: Report, comparison: Comparison | None) -> str:
    """Return the report as one HTML file without scripts."""
    title = f"{report.dataset}: {report.version}" + (f" against {comparison.before.version}" if comparison else "")
    facts = f"Assistant {report.assistant}, {report.created_at}, {report.cost()}"
    head = ["score", "mean", "95 %", "required", *(["before", "change"] if comparison else [])]
    rows = [list(_cells(report, comparison, name)) for name in report.score_names()]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>",
        '<meta name=viewport content="width=device-width,initial-scale=1">',
        f"<h1>{escape(title)}</h1><p>{escape(facts)}</p>",
        _table(head, [[escape(cell) for cell in row] for row in rows]),
    ]
    if comparison and (changed := comparison.changed_examples()):
        cells = [[escape(example), escape(name), f"{old:.2f}", f"{new:.2f}"] for example, name, old, new in changed]
        parts += ["<h2>Changed examples</h2>", _table(["example", "score", "before", "after"], cells)]
    old = _answers(comparison.before) if comparison else {}
    parts += [
        "<h2>Examples</h2>",
        *(_trial(trial, old.get((trial.example, trial.repetition))) for trial in report.trials),
    ]
    return "\n".join(parts) + "\n"


def _answers(report: Report) -> Mapping[tuple[str, int], str]:
    return {(trial.example, trial.repetition): trial.answer for trial in report.trials}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows]
    return "<table><tr>" + "".join(f"<th>{cell}" for cell in head) + "".join(lines) + "</table>"


def _trial(trial: TrialRecord, before: str | None) -> str:
    failed = {name: given for name, given in trial.scores.items() if given.value < 1}
    mark = f"<span class=bad>✗ {escape(', '.join(failed))}</span>" if failed else "<span class=good>✓</span>"
    lines = [
        f"<details{' open' if failed else ''}><summary>{escape(trial.example)} #{trial.repetition} {mark}</summary>",
        f"<p><b>{escape(trial.question)}</b><pre>{escape(trial.answer)}</pre>",
        *(f"<p class=bad>{escape(name)}: {escape(given.reason)}" for name, given in failed.items()),
    ]
    if before is not None and before != trial.answer:
        lines.append(f"<p>Before:<pre>{escape(before)}</pre>")
    tools = f"tools: {', '.join(trial.tools)}; " if trial.tools else ""
    facts = [f"{trial.tokens} tokens", *describe_costs(trial.costs), f"{trial.seconds:.1f} s"]
    lines.append(f"<p><small>{escape(tools + '; '.join(facts))}</small></details>")
    return "".join(lines)
