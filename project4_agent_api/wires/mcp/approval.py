"""Questions of a graph as forms that an MCP client shows (`elicitation`), and the answers as values to resume with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp.types import ElicitResult

from project4_agent_api.wires.items import Interrupt

_MAX_TEXT = 4000  # of a question
_LABELS = {"approve": "Approve", "reject": "Reject"}


@dataclass(frozen=True)
class Form:
    """A form for one question.

    Attributes:
        actions: The tool calls to approve; none for a question of another kind, which takes any text.
    """

    message: str
    schema: dict[str, Any]
    actions: int

    @classmethod
    def from_interrupt(cls, interrupt: Interrupt) -> "Form | None":
        """Make the form of a question; None if a form cannot show it, or cannot express its answers."""
        value = interrupt.value
        if not _asks_for_approval(value):
            return cls(_shorten(_as_text(value)), {"type": "object", "properties": {"answer": {"type": "string"}}}, 0)
        properties: dict[str, Any] = {}
        lines = []
        for number, (action, review) in enumerate(zip(value["action_requests"], value["review_configs"], strict=True)):
            allowed = [decision for decision in _LABELS if decision in review.get("allowed_decisions", ())]
            if not allowed:
                return None
            lines.append(f"{action['name']}: {json.dumps(action['args'], ensure_ascii=False)}")
            properties[f"decision_{number + 1}"] = {
                "type": "string",
                "title": str(action["name"]),
                "enum": allowed,
                "enumNames": [_LABELS[decision] for decision in allowed],
            }
            properties[f"reason_{number + 1}"] = {"type": "string", "title": "Why, if you reject it"}
        required = [name for name in properties if name.startswith("decision")]
        message = "The assistant asks before it calls:\n" + "\n".join(lines)
        if len(message) > _MAX_TEXT:  # a truncated request must not be approved
            return None
        return cls(message, {"type": "object", "properties": properties, "required": required}, len(lines))

    def answer(self, result: ElicitResult) -> Any:  # noqa: ANN401  any JSON
        """Return the value to resume with; None if the question stays open.

        Who declines to answer a request for approval rejects it. Nothing but `approve` approves.
        """
        content: Mapping[str, Any] = result.content or {}
        if result.action == "cancel" or (result.action == "decline" and not self.actions):
            return None
        if not self.actions:
            return content.get("answer")
        declined = result.action == "decline"
        decisions = [_decision({} if declined else content, number) for number in range(1, self.actions + 1)]
        allowed = [self.schema["properties"][f"decision_{number}"]["enum"] for number in range(1, self.actions + 1)]
        if any(each["type"] not in types for each, types in zip(decisions, allowed, strict=True)):
            return None
        return {"decisions": decisions}


def _decision(content: Mapping[str, Any], number: int) -> dict[str, Any]:
    if content.get(f"decision_{number}") == "approve":
        return {"type": "approve"}
    reason = content.get(f"reason_{number}")
    return {"type": "reject", **({"message": reason} if isinstance(reason, str) and reason else {})}


def _asks_for_approval(value: Any) -> bool:  # noqa: ANN401  any JSON
    """Return whether a question has the form of LangChain's human in the loop."""
    if not isinstance(value, dict):
        return False
    actions, reviews = value.get("action_requests"), value.get("review_configs")
    return (
        isinstance(actions, list)
        and isinstance(reviews, list)
        and len(actions) == len(reviews) > 0
        and all(isinstance(action, dict) and {"name", "args"} <= action.keys() for action in actions)
        and all(isinstance(review, dict) for review in reviews)
    )


def _as_text(value: Any) -> str:  # noqa: ANN401  any JSON
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + " …"
