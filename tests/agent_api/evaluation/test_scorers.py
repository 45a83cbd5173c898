"""Scores of answers: each expectation met and not met, and the forms of state that outcomes are read from."""

from typing import Any

import pytest

from agent_api.evaluation.dataset import Expectation
from agent_api.evaluation.outcome import Outcome, read_outcome
from agent_api.evaluation.scorers import names, score

CALLS = [{"name": "search", "args": {"query": "Fee", "k": 3}}, {"name": "answer", "args": {}}]
PASSAGES = [
    {"filename": "a.pdf", "text": "The fee is\n10 euros.", "chunk_id": "1"},
    {"filename": "b.csv", "text": "K-12: 39.50", "chunk_id": "2"},
]
CITATIONS = [{"marker": 1, "filename": "a.pdf", "chunk_id": "1", "quote": "The fee is 10 euros."}]


def outcome(answer: str, **state: Any) -> Outcome:
    messages = [
        {"type": "human", "content": "?"},
        {"type": "ai", "content": answer, "tool_calls": state.pop("calls", [])},
    ]
    return read_outcome({"messages": messages, **state})


def values(expect: dict[str, Any], of: Outcome) -> dict[str, float]:
    return {each.name: each.value for each in score(Expectation.model_validate(expect), of) if each.name != "answered"}


CITED = outcome("It is 10 euros. [1]", calls=CALLS, passages=PASSAGES, citations=CITATIONS)


@pytest.mark.parametrize(
    ("expect", "met"),
    [
        ({"contains": ["10  EUROS", "it is"]}, 1),
        ({"contains": ["10 euros", "11"]}, 0),
        ({"contains_any": ["11", "10"]}, 1),
        ({"contains_any": ["11", "12"]}, 0),
        ({"excludes": "11"}, 1),
        ({"excludes": ["11", "10"]}, 0),
        ({"equals": "it is 10 euros. [1]"}, 1),
        ({"equals": "10"}, 0),
        ({"regex": r"\d+ euros"}, 1),
        ({"regex": r"^\d+"}, 0),
        ({"tools": ["search"]}, 1),
        ({"tools": ["answer", "search"]}, 0),
        ({"tools": [{"name": "search", "args": {"query": "fee"}}]}, 1),
        ({"tools": [{"name": "search", "args": {"query": "fees"}}]}, 0),
        ({"tools": {"calls": [{"name": "search"}], "mode": "exact"}}, 0),
        ({"tools": {"calls": [{"name": "search"}, {"name": "answer"}], "mode": "exact"}}, 1),
        ({"tools": {"calls": [{"name": "answer"}, {"name": "search"}], "mode": "any_order"}}, 1),
        ({"tools": {"calls": [{"name": "answer"}, {"name": "answer"}], "mode": "any_order"}}, 0),
        ({"tools": []}, 0),
        ({"cites": "*.pdf"}, 1),
        ({"cites": ["a.pdf", "b.csv"]}, 0),
        ({"citations": "correct"}, 1),
        ({"retrieves": "b.csv"}, 1),
        ({"retrieves": [{"document": "b.csv", "top": 1}]}, 0),
        ({"retrieves": [{"document": "b.csv", "text": "k-12: 39.50"}]}, 1),
        ({"retrieves": [{"document": "a.pdf", "text": "39.50"}]}, 0),
        ({"refuses": False}, 1),
        ({"refuses": True}, 0),
    ],
)
def test_expectation_is_scored(expect: dict[str, Any], met: int) -> None:
    (name,) = expect
    assert values(expect, CITED) == {name: met}


@pytest.mark.parametrize(
    ("answer", "citations", "met"),
    [
        ("It is 10 euros.", CITATIONS, 0),  # cites nothing
        ("It is 10 euros. [2]", CITATIONS, 0),  # a marker without citation
        ("It is 10 euros. [1]", [CITATIONS[0] | {"quote": "The fee is 11 euros."}], 0),
        ("It is 10 euros. [1]", [*CITATIONS, CITATIONS[0] | {"marker": 2, "quote": "invented"}], 1),  # not cited
    ],
)
def test_citation_must_quote_its_passage(answer: str, citations: list[dict[str, Any]], met: int) -> None:
    assert values({"citations": "correct"}, outcome(answer, passages=PASSAGES, citations=citations)) == {
        "citations": met
    }


@pytest.mark.parametrize(
    "answer", ["The documents do not say.", "文档中没有提到。", "I don’t know.", "The notes do not mention a fee."]
)
def test_refusal_is_recognized(answer: str) -> None:
    assert values({"refuses": True}, outcome(answer)) == {"refuses": 1}


@pytest.mark.parametrize(
    ("answer", "met"), [('{"n": 1}', 1), ('Here:\n```json\n{"n": 1}\n```', 1), ('{"n": "1"}', 0), ("1, 2", 0)]
)
def test_json_is_validated(answer: str, met: int) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert values({"json_schema": schema}, outcome(answer)) == {"json_schema": met}


def test_failed_run_meets_nothing() -> None:
    scores = score(Expectation(excludes=["x"], refuses=True), Outcome(error="ModelUnavailable"))

    assert {each.name: (each.value, each.reason) for each in scores} == dict.fromkeys(
        ["answered", "excludes", "refuses"], (0, "ModelUnavailable")
    )


def test_every_expectation_has_a_score() -> None:
    assert {*names()} == {*Expectation.model_fields, "answered"}


def test_outcome_is_that_of_the_last_question() -> None:
    artifact = {"citations": [{"marker": 3, "filename": "a.md", "chunk_id": "1", "quote": "Nine."}]}
    read = read_outcome(
        {
            "messages": [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "one", "tool_calls": [{"name": "old", "args": {}}]},
                {"type": "human", "content": "second"},
                {"type": "ai", "content": "", "tool_calls": [{"name": "new"}], "usage_metadata": {"total_tokens": 5}},
                {"type": "tool", "content": "found", "artifact": artifact},
                {"type": "ai", "content": [{"type": "text", "text": "Nine."}, {"type": "reasoning"}, " [3]"]},
            ]
        }
    )

    assert (read.answer, [call["name"] for call in read.calls], read.tokens) == ("Nine. [3]", ["new"], 5)
    assert [each["filename"] for each in read.cited()] == ["a.md"]
    assert [each.document for each in read.passages] == ["a.md"]


@pytest.mark.parametrize(
    ("state", "answer"), [("text", "text"), ({"a": "one", "n": 2}, "one"), ({"a": "1", "b": "2"}, ""), (3, "")]
)
def test_graph_without_messages_has_its_only_text(state: Any, answer: str) -> None:  # noqa: ANN401  any JSON
    assert read_outcome(state).answer == answer


@pytest.mark.parametrize("citations", ["a.pdf", ["a.pdf"], {"a": 1}, [{"marker": 1, "filename": "a.pdf"}]])
def test_citations_of_another_form_are_not_cited_correctly(citations: Any) -> None:  # noqa: ANN401  any JSON
    read = read_outcome({"messages": [{"type": "ai", "content": "At nine [1]."}], "citations": citations})

    (cites,) = (each for each in score(Expectation(citations="correct"), read) if each.name == "citations")
    assert cites.value == (1 if isinstance(citations, list) and isinstance(citations[0], dict) else 0)
