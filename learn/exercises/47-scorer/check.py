from types import ModuleType

import pytest


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("It costs 39.50 euros, within 45 days.", []),
        ("IT COSTS 39.50\n  EUROS, within\t45 days.", []),
        ("It costs 39.50 euros.", ["45 days"]),
        ("I do not know.", ["39.50 euros", "45 days"]),
    ],
)
def test_contains_names_what_is_missing(exercise: ModuleType, answer: str, missing: list[str]) -> None:
    reason = exercise.contains(["39.50 euros", "45 Days"], exercise.Outcome(answer))
    assert bool(reason) == bool(missing)
    assert [text for text in missing if text.casefold() not in reason.casefold()] == []


@pytest.mark.parametrize(
    ("names", "called", "passed"),
    [
        (["search", "fetch"], ["search", "fetch"], True),
        (["search", "fetch"], ["clock", "search", "search", "fetch"], True),
        (["search", "fetch"], ["fetch", "search"], False),
        (["search", "search"], ["search"], False),
        (["search"], [], False),
        ([], [], True),
        ([], ["search"], False),
    ],
)
def test_tools_are_called_in_order(exercise: ModuleType, names: list[str], called: list[str], passed: bool) -> None:
    assert (exercise.tools(names, exercise.Outcome("", called)) == "") == passed


def test_mean_is_over_the_examples_with_an_expectation(exercise: ModuleType) -> None:
    examples = [
        exercise.Example("fee", contains=["39.50"], tools=["search"]),
        exercise.Example("days", contains=["45"]),
        exercise.Example("hello", tools=[]),
    ]
    answers = {"fee": ("39.50 euros", ["search"]), "days": ("30 days", []), "hello": ("Hello!", [])}
    asked: list[str] = []

    def run(question: str) -> object:
        asked.append(question)
        return exercise.Outcome(*answers[question])

    assert exercise.evaluate(examples, run) == {"contains": 0.5, "tools": 1.0}
    assert asked == ["fee", "days", "hello"], "run each example once / 每个样例只运行一次"


def test_failed_run_scores_zero(exercise: ModuleType) -> None:
    def run(question: str) -> object:
        if question == "first":
            raise ConnectionError("the model is unavailable")
        return exercise.Outcome("45 days")

    examples = [exercise.Example("first", tools=[]), exercise.Example("second", contains=["45"], tools=[])]

    assert exercise.evaluate(examples, run) == {"contains": 1.0, "tools": 0.5}
