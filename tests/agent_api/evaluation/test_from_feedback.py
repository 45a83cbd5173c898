"""Expectations from ratings."""

from typing import Any

import pytest

from agent_api.evaluation.from_feedback import expectation

CITATION = {"filename": "fees.md", "chunk_id": "1", "quote": "39.50"}
STATE = {
    "messages": [
        {"type": "human", "content": "What does it cost?"},
        {"type": "ai", "content": "", "tool_calls": [{"name": "search", "args": {}}]},
        {"type": "tool", "content": "39.50"},
        {"type": "ai", "content": "39.50 [1], also [2]."},
    ],
    "citations": [CITATION | {"marker": marker} for marker in (1, 2)]
    + [CITATION | {"marker": 3, "filename": "not-cited.md"}],
}


def rating(score: float | None, correction: object = None) -> dict[str, Any]:
    return {"score": score, "correction": correction}


@pytest.mark.parametrize(
    ("feedback", "state", "expected"),
    [
        (rating(0, "59.00"), STATE, {"contains": ["59.00"]}),
        (rating(1, "59.00"), STATE, {"contains": ["59.00"]}),
        (rating(1), STATE, {"tools": ["search"], "cites": ["fees.md"]}),
        (rating(0.5, {"answer": "59.00"}), STATE, {"tools": ["search"], "cites": ["fees.md"]}),
        (rating(1), {"messages": [{"type": "ai", "content": "Hello."}]}, {}),
        (rating(0.4), STATE, {}),
        (rating(0, ""), STATE, {}),
        (rating(None), STATE, {}),
        (rating(1), {}, {}),
    ],
)
def test_rating_becomes_an_expectation(
    feedback: dict[str, Any], state: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert expectation(feedback, state) == expected
