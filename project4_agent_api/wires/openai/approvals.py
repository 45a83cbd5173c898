"""Questions of a graph as approval requests and calls, and the client's decisions as the answer that resumes the graph.

Questions of LangChain's human-in-the-loop middleware ask about some tool calls, which are answered all at once. Any
other question is a call of the function `answer`, whose arguments are the question and whose output is the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError

from project4_agent_api.wires.client_tools import ClientCall
from project4_agent_api.wires.items import Interrupt

_ACTIONS = "action_requests"


def actions(value: Any) -> Sequence[Mapping[str, Any]]:  # noqa: ANN401  any JSON
    """Return the tool calls that a question is about; none if it is another kind of question."""
    found = value.get(_ACTIONS) if isinstance(value, dict) else None
    if isinstance(found, list) and all(isinstance(action, dict) and "name" in action for action in found):
        return found
    return ()


def question_items(interrupt: Interrupt, label: str) -> Iterator[dict[str, Any]]:
    """Yield the output items that ask a question.

    Args:
        label: The name of the server whose tools are called.
    """
    calls = actions(interrupt.value)
    for call, id_ in zip(calls, _request_ids(interrupt), strict=False):
        arguments = orjson.dumps(call.get("args") or {}).decode()
        named = {"name": str(call["name"]), "arguments": arguments, "server_label": label}
        yield {"id": id_, "type": "mcp_approval_request", **named}
    if not calls:
        arguments = orjson.dumps(interrupt.value).decode()
        yield function_call(ClientCall(_call_id(interrupt), "answer", arguments))


def function_call(call: ClientCall) -> dict[str, Any]:
    """Return the output item of a call that the client answers."""
    named = {"name": call.name, "arguments": call.arguments, "call_id": call.call_id}
    return {"id": f"fc_{call.call_id.removeprefix('call_')}", "type": "function_call", "status": "completed", **named}


def resume(
    interrupts: Sequence[Interrupt],
    decisions: Mapping[str, tuple[bool, str | None]],
    answers: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the value that resumes a graph, by the ids of the questions that are answered.

    Raises:
        RequestValidationError: if a question is not open, or only some of its tool calls are decided.
    """
    values: dict[str, Any] = {}
    known: set[str] = set()
    for interrupt in interrupts:
        if client_call := ClientCall.from_interrupt(interrupt):
            known.add(client_call.call_id)
            if client_call.call_id in answers:
                values[interrupt.id] = client_call.answer(answers[client_call.call_id])
            continue
        ids = _request_ids(interrupt)
        known |= {*ids, _call_id(interrupt)}
        if missing := [id_ for id_ in ids if id_ not in decisions]:
            if len(missing) < len(ids):
                raise _invalid(f"the tool calls of a message are decided together: {', '.join(missing)} is missing")
        elif ids:
            values[interrupt.id] = {"decisions": [_decision(*decisions[id_]) for id_ in ids]}
        elif (answer := answers.get(_call_id(interrupt))) is not None:
            values[interrupt.id] = _parse(answer)
    if unknown := (decisions.keys() | answers.keys()) - known:
        raise _invalid(f"no question with the id {min(unknown)} is open")
    return values


def describe(value: Any) -> str:  # noqa: ANN401  any JSON
    """Describe a question in a sentence, for clients that cannot answer it."""
    if calls := actions(value):
        named = "; ".join(f"{call['name']} with {orjson.dumps(call.get('args') or {}).decode()}" for call in calls)
        return f"These tool calls need an approval: {named}."
    return f"The assistant asks a question: {orjson.dumps(value).decode()}."


def _request_ids(interrupt: Interrupt) -> list[str]:
    return [f"mcpr_{interrupt.id}_{position}" for position in range(len(actions(interrupt.value)))]


def _call_id(interrupt: Interrupt) -> str:
    return f"call_{interrupt.id}"


def _decision(approve: bool, reason: str | None) -> dict[str, str]:
    if approve:
        return {"type": "approve"}
    return {"type": "reject", **({"message": reason} if reason else {})}


def _parse(answer: Any) -> Any:  # noqa: ANN401  any JSON
    """Return an answer as the JSON that it is, or as it was sent."""
    if not isinstance(answer, str):
        return answer
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        return answer


def _invalid(message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", "input"), "msg": message}])
