from types import ModuleType
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage

_PASSAGES = ["Rain falls.", "A pool keeps connections open.", "A pool limits connections.", "Wind blows."]


class _Model(GenericFakeChatModel):
    """A model that records its prompts."""

    prompts: list[list[BaseMessage]]

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> Any:
        self.prompts.append(messages)
        return super()._generate(messages, *args, **options)


def _score(question: str, passage: str) -> float:
    """Count the words in common, and prefer short passages."""
    common = set(question.lower().split()) & set(passage.lower().rstrip(".").split())
    return len(common) - len(passage) / 1000


def test_best_passages_come_first(exercise: ModuleType) -> None:
    best = exercise.rerank("what limits a pool", _PASSAGES, _score, keep=2)
    assert best == ["A pool limits connections.", "A pool keeps connections open."]


def test_order_of_the_given_list_is_unchanged(exercise: ModuleType) -> None:
    passages = list(_PASSAGES)
    exercise.rerank("what limits a pool", passages, _score, keep=1)
    assert passages == _PASSAGES, (
        "sorted() returns a new list; .sort() changes the caller's / sorted() 返回新列表，.sort() 会改动调用方的列表"
    )


def test_passages_are_numbered_from_one(exercise: ModuleType) -> None:
    assert exercise.number(["a", "b"]) == "[1] a\n[2] b"
    assert exercise.number([]) == ""


def test_prompt_has_the_two_best_passages(exercise: ModuleType) -> None:
    model = _Model(messages=iter([AIMessage("It limits connections [1].")]), prompts=[])
    asked: list[str] = []

    def retrieve(question: str) -> list[str]:
        asked.append(question)
        return _PASSAGES

    answer = exercise.build_chain(retrieve, _score, model).invoke({"question": "what limits a pool"})
    assert answer == "It limits connections [1]."
    assert asked == ["what limits a pool"]
    system, human = (str(message.content) for message in model.prompts[0])
    assert system.endswith("numbers:\n[1] A pool limits connections.\n[2] A pool keeps connections open.")
    assert human == "what limits a pool"
