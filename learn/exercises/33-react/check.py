from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage


class _Script:
    """A model that gives prepared replies, and records the messages of each call."""

    def __init__(self, *replies: AIMessage) -> None:
        self.replies = list(replies)
        self.prompts: list[list[AnyMessage]] = []

    def __call__(self, messages: Sequence[AnyMessage]) -> AIMessage:
        self.prompts.append(list(messages))
        return self.replies.pop(0)


def _call(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    return AIMessage(
        "", tool_calls=[{"name": name, "args": args, "id": f"c{n}"} for n, (name, args) in enumerate(calls)]
    )


def _add(a: int, b: int) -> str:
    return str(a + b)


def _divide(a: int, b: int) -> str:
    return str(a // b)


_TOOLS = {"add": _add, "divide": _divide}


def test_answer_without_a_tool_ends_the_loop(exercise: ModuleType) -> None:
    model = _Script(AIMessage("Hello!"))
    messages = exercise.run(model, _TOOLS, "Hi")
    assert [(message.type, message.content) for message in messages] == [("human", "Hi"), ("ai", "Hello!")]


def test_result_of_a_tool_is_observed(exercise: ModuleType) -> None:
    model = _Script(_call(("add", {"a": 2, "b": 3})), AIMessage("It is 5."))
    messages = exercise.run(model, _TOOLS, "2 + 3?")
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert (messages[2].content, messages[2].tool_call_id) == ("5", "c0")
    assert [message.type for message in model.prompts[1]] == ["human", "ai", "tool"], (
        "the model must see the result / 模型必须看到工具的结果"
    )


def test_each_call_of_one_reply_is_answered(exercise: ModuleType) -> None:
    model = _Script(_call(("add", {"a": 1, "b": 1}), ("divide", {"a": 9, "b": 3})), AIMessage("2 and 3"))
    messages = exercise.run(model, _TOOLS, "?")
    assert [(one.content, one.tool_call_id) for one in messages if one.type == "tool"] == [("2", "c0"), ("3", "c1")]


def test_failures_are_observations(exercise: ModuleType) -> None:
    model = _Script(_call(("divide", {"a": 1, "b": 0}), ("fly", {}), ("add", {"a": 1})), AIMessage("I cannot."))
    messages = exercise.run(model, _TOOLS, "?")
    division, unknown, missing = (message.content for message in messages if message.type == "tool")
    assert division.startswith("Error: ")
    assert unknown == "Unknown tool: fly"
    assert missing.startswith("Error: ")
    assert messages[-1].content == "I cannot."


def test_loop_ends_after_max_steps(exercise: ModuleType) -> None:
    model = _Script(*(_call(("add", {"a": 1, "b": 1})) for _ in range(9)))
    with pytest.raises(RuntimeError):
        exercise.run(model, _TOOLS, "?", max_steps=3)
    assert len(model.prompts) == 3
