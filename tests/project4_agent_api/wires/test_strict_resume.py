"""Answers to a question that another client has answered at the same moment: they are refused when the run starts."""

from uuid import uuid4

from ag_ui.core import RunAgentInput

from project4_agent_api.wires.agui.inputs import run_body
from project4_agent_api.wires.items import Interrupt
from project4_agent_api.wires.openai.response_schemas import Input, ResponseRequest
from project4_agent_api.wires.openai.responses import Place, _run

QUESTION = Interrupt("1", "Really?")


def test_answer_of_a_response_is_strict() -> None:
    answer = {"type": "function_call_output", "call_id": "call_1", "output": "yes"}
    body = ResponseRequest.model_validate({"model": "ask", "input": [answer], "conversation": "conv_1"})

    run = _run(body, Input.from_request(body), Place(uuid4(), interrupts=[QUESTION]), uuid4())

    assert (run["command"], run["strict_resume"]) == ({"resume": {"1": "yes"}}, True)


def test_answer_of_ag_ui_is_strict() -> None:
    given = {"threadId": "t", "runId": "r", "messages": [], "tools": [], "context": [], "state": {}}
    resume = [{"interruptId": "1", "status": "resolved", "payload": "yes"}]
    request = RunAgentInput.model_validate(given | {"forwardedProps": {}, "resume": resume})

    run = run_body(request, uuid4(), {}, [QUESTION])

    assert (run["command"], run["strict_resume"]) == ({"resume": {"1": "yes"}}, True)
