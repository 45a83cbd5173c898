from types import ModuleType

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage


def _turn(question: str, answer: str = "ok") -> list[AnyMessage]:
    return [HumanMessage(question), AIMessage(answer)]


def _words(message: AnyMessage) -> int:
    return len(str(message.content).split())


def _shown(messages: list[AnyMessage]) -> list[tuple[str, str]]:
    return [(message.type, str(message.content)) for message in messages]


class _Summarizer:
    """Joins the first words of the questions; counts its calls, because each is a call of a model."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, summary: str, messages: list[AnyMessage]) -> str:
        self.calls += 1
        words = [str(message.content).split()[0] for message in messages if message.type == "human"]
        return "+".join([summary, *words] if summary else words)


@pytest.fixture
def summarize() -> _Summarizer:
    return _Summarizer()


def test_new_memory_has_no_messages(exercise: ModuleType, summarize: _Summarizer) -> None:
    assert exercise.SummaryMemory(summarize).messages() == []
    assert exercise.SummaryBufferMemory(summarize, _words, 10).messages() == []


def test_summary_memory_folds_each_turn(exercise: ModuleType, summarize: _Summarizer) -> None:
    memory = exercise.SummaryMemory(summarize)
    for name in ("a", "b", "c"):
        memory.add(_turn(name))
    assert _shown(memory.messages()) == [("system", "Summary so far: a+b+c")]
    assert summarize.calls == 3


def test_summary_buffer_keeps_turns_within_the_budget(exercise: ModuleType, summarize: _Summarizer) -> None:
    memory = exercise.SummaryBufferMemory(summarize, _words, budget=6)
    memory.add(_turn("a 1"))
    memory.add(_turn("b 2"))
    assert _shown(memory.messages()) == [("human", "a 1"), ("ai", "ok"), ("human", "b 2"), ("ai", "ok")]
    assert summarize.calls == 0, (
        "nothing exceeds the budget, so no model needs to be called / 没有超出预算，不需要调用模型"
    )


def test_summary_buffer_folds_the_oldest_turn(exercise: ModuleType, summarize: _Summarizer) -> None:
    memory = exercise.SummaryBufferMemory(summarize, _words, budget=6)
    for name in ("a", "b", "c"):
        memory.add(_turn(f"{name} 1"))
    assert _shown(memory.messages()) == [
        ("system", "Summary so far: a"),
        ("human", "b 1"),
        ("ai", "ok"),
        ("human", "c 1"),
        ("ai", "ok"),
    ]


def test_several_turns_are_folded_with_one_call(exercise: ModuleType, summarize: _Summarizer) -> None:
    memory = exercise.SummaryBufferMemory(summarize, _words, budget=6)
    memory.add(_turn("a 1"))
    memory.add(_turn("b 1"))
    memory.add(_turn("c is a long question"))
    assert memory.summary == "a+b"
    assert summarize.calls == 1


def test_last_turn_is_kept_even_beyond_the_budget(exercise: ModuleType, summarize: _Summarizer) -> None:
    memory = exercise.SummaryBufferMemory(summarize, _words, budget=2)
    memory.add(_turn("a very long question"))
    assert _shown(memory.messages()) == [("human", "a very long question"), ("ai", "ok")]


def test_two_conversations_share_nothing(exercise: ModuleType, summarize: _Summarizer) -> None:
    one, other = (exercise.SummaryBufferMemory(summarize, _words, 9) for _ in range(2))
    one.add(_turn("a"))
    assert other.messages() == []
