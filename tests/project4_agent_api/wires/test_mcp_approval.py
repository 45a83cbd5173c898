"""The forms in which MCP's clients show questions of a graph."""

from typing import Any

import pytest
from mcp.types import ElicitResult

from project4_agent_api.wires.items import Interrupt
from project4_agent_api.wires.mcp.approval import Form


def question(*allowed: str, **arguments: Any) -> Interrupt:
    action = {"name": "send_mail", "args": arguments}
    review = {"action_name": "send_mail", "allowed_decisions": list(allowed)}
    return Interrupt("1", {"action_requests": [action], "review_configs": [review]})


@pytest.mark.parametrize(
    ("result", "decision"),
    [
        (ElicitResult(action="accept", content={"decision_1": "approve"}), {"type": "approve"}),
        (
            ElicitResult(action="accept", content={"decision_1": "reject", "reason_1": "no"}),
            {"type": "reject", "message": "no"},
        ),
        (ElicitResult(action="accept", content={"decision_1": "APPROVE"}), {"type": "reject"}),
        (ElicitResult(action="accept", content={}), {"type": "reject"}),
        (ElicitResult(action="decline", content={"decision_1": "approve"}), {"type": "reject"}),
    ],
)
def test_only_approve_approves(result: ElicitResult, decision: dict[str, str]) -> None:
    form = Form.from_interrupt(question("approve", "edit", "reject", to="ada"))
    assert form
    assert 'send_mail: {"to": "ada"}' in form.message
    assert form.answer(result) == {"decisions": [decision]}


def test_decision_that_is_not_allowed_leaves_the_question_open() -> None:
    form = Form.from_interrupt(question("approve"))
    assert form
    assert form.answer(ElicitResult(action="decline")) is None


def test_dismissed_question_stays_open() -> None:
    for form in (Form.from_interrupt(question("approve", "reject")), Form.from_interrupt(Interrupt("1", "How many?"))):
        assert form
        assert form.answer(ElicitResult(action="cancel")) is None


def test_call_that_cannot_be_shown_or_decided_is_not_asked_about() -> None:
    assert Form.from_interrupt(question("approve", "reject", text="x" * 5000)) is None
    assert Form.from_interrupt(question("edit")) is None


def test_other_question_takes_any_text() -> None:
    form = Form.from_interrupt(Interrupt("1", {"question": "How many?"}))
    assert form
    assert form.answer(ElicitResult(action="accept", content={"answer": "3"})) == "3"
