from types import ModuleType

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

# Three turns; the second one calls a tool.
_HISTORY: list[AnyMessage] = [
    HumanMessage("one two"),
    AIMessage("three"),
    HumanMessage("four"),
    AIMessage("", tool_calls=[{"name": "clock", "args": {}, "id": "c1"}]),
    ToolMessage("five six", tool_call_id="c1"),
    AIMessage("seven"),
    HumanMessage("eight nine ten"),
    AIMessage("eleven"),
]


def _words(message: AnyMessage) -> int:
    return len(str(message.content).split())


def _texts(messages: list[AnyMessage]) -> list[str]:
    return [str(message.content) for message in messages]


def test_buffer_is_the_whole_history_in_a_new_list(exercise: ModuleType) -> None:
    messages = exercise.buffer(_HISTORY)
    assert messages == _HISTORY
    assert messages is not _HISTORY


@pytest.mark.parametrize(("turns", "start"), [(1, 6), (2, 2), (3, 0), (9, 0), (0, 8)])
def test_window_is_cut_between_turns(exercise: ModuleType, turns: int, start: int) -> None:
    assert _texts(exercise.window(_HISTORY, turns)) == _texts(_HISTORY[start:])


def test_window_of_an_empty_history_is_empty(exercise: ModuleType) -> None:
    assert exercise.window([], 3) == []


@pytest.mark.parametrize(("budget", "start"), [(3, 8), (4, 6), (7, 6), (8, 2), (10, 2), (11, 0), (99, 0), (0, 8)])
def test_token_memory_fits_its_budget(exercise: ModuleType, budget: int, start: int) -> None:
    messages = exercise.within(_HISTORY, budget, _words)
    assert _texts(messages) == _texts(_HISTORY[start:])


def test_result_of_a_tool_never_comes_without_its_call(exercise: ModuleType) -> None:
    for budget in range(12):
        messages = exercise.within(_HISTORY, budget, _words)
        assert not messages or messages[0].type == "human"
