"""Reports: intervals, what fails, comparisons, and their forms."""

from pathlib import Path

import pytest

from agent_api.evaluation.report import Comparison, Report, ScoreRecord, TrialRecord, page, read_report, table
from agent_api.evaluation.statistics import difference, interval
from project4_agent_api.core.model_usage import Cost
from shared.errors import ConfigurationError


def report(*values: float, version: str = "new", required: float = 1.0, answer: str = "a") -> Report:
    """One example for each value, run once."""
    trials = [
        TrialRecord(
            example=f"e{place}",
            repetition=1,
            question="Is 1 < 2?",
            answer=answer,
            scores={"contains": ScoreRecord(value=value, reason="" if value else "<b> missing")},
        )
        for place, value in enumerate(values)
    ]
    return Report(
        dataset="set",
        assistant="agent",
        version=version,
        created_at="now",
        required={"contains": required},
        trials=trials,
    )


@pytest.mark.parametrize(
    ("means", "low", "high"),
    [([1.0] * 8, 0.676, 1.0), ([0.0] * 8, 0.0, 0.324), ([1.0, 0.0] * 4, 0.125, 0.875), ([0.5] * 100, 0.404, 0.596)],
)
def test_interval_is_wider_for_fewer_examples(means: list[float], low: float, high: float) -> None:
    found = interval(means)

    assert found.mean == sum(means) / len(means)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.001)
    assert interval(means) == found


def test_repetitions_count_as_one_example() -> None:
    one = report(1, 0)
    one.trials += [trial.model_copy(update={"repetition": 2}) for trial in one.trials]

    assert one.means("contains") == {"e0": 1, "e1": 0}
    assert one.interval("contains") == interval([1.0, 0.0])


@pytest.mark.parametrize(("required", "failures"), [(0.5, []), (0.51, ["contains"])])
def test_mean_below_the_required_one_fails(required: float, failures: list[str]) -> None:
    assert report(1, 0, required=required).failures() == failures


def test_fall_is_worse_only_beyond_chance() -> None:
    before = report(*[1] * 20, version="old")

    assert Comparison(before, report(*[1] * 15, *[0] * 5)).worse() == ["contains"]
    assert Comparison(before, report(*[1] * 19, 0)).worse() == []
    assert Comparison(before, report(*[1] * 20)).worse() == []
    assert Comparison(report(*[0] * 20), report(*[1] * 20)).worse() == []
    assert Comparison(before, report(*[1] * 15, *[0] * 5)).changed_examples()[0] == ("e15", "contains", 1, 0)
    assert difference([1.0, 1.0], [0.0, 0.0]).high == -1


def test_only_common_examples_are_compared() -> None:
    before = report(1, 1, 1)
    after = report(0, 0, 0)
    for trial in after.trials:
        trial.example = f"other {trial.example}"

    assert Comparison(before, after).worse() == []
    assert any("–" in line for line in table(after, Comparison(before, after)))


def test_report_is_read_again(tmp_path: Path) -> None:
    written = report(1, 0)
    (tmp_path / "set.json").write_text(written.model_dump_json())

    assert read_report(tmp_path / "set.json") == written
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="is no report"):
        read_report(tmp_path / "other.json")
    with pytest.raises(ConfigurationError, match="No such file"):
        read_report(tmp_path / "none.json")


def test_report_adds_up_costs_and_names_models_without_a_price() -> None:
    costs = [
        Cost(amount=0.0025, currency="CNY", unpriced_models=[]),
        Cost(amount=None, currency="CNY", unpriced_models=["m"]),
    ]
    priced = report(1, 1)
    for trial, cost in zip(priced.trials, costs, strict=True):
        trial.tokens, trial.costs = 600, [cost, cost]

    assert priced.cost() == "1,200 tokens, 0.005 CNY, no price for m"
    assert "1,200 tokens, 0.005 CNY, no price for m" in "".join(table(priced, None))
    assert "600 tokens; 0.005 CNY;" in page(priced, None)
    assert report(1).cost() == "0 tokens"
    assert "1 example ×" in next(table(report(1), None))


def test_table_and_page_show_reasons_and_changes() -> None:
    after, before = report(1, 0, answer="<i>new"), report(1, 1, version="old", answer="<i>old")
    comparison = Comparison(before, after)
    lines = "\n".join(table(after, comparison))
    shown = page(after, comparison)

    assert "contains  0.500" in lines
    assert "1.00 ✗" in lines
    assert "✗ e1 #1 contains: <b> missing" in lines
    assert "set: new against old" in shown
    assert "&lt;i&gt;new" in shown
    assert "Before:<pre>&lt;i&gt;old" in shown
    assert "<td>e1<td>contains<td>1.00<td>0.00" in shown
    assert "<b> missing" not in shown
    assert "<script" not in shown
