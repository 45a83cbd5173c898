from types import ModuleType
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage

_INPUT = {"question": "What is {a set}?", "language": "French"}


class _Model(GenericFakeChatModel):
    """A model that records its prompts, and streams word by word."""

    prompts: list[list[BaseMessage]]

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> Any:
        self.prompts.append(messages)
        return super()._generate(messages, *args, **options)


@pytest.fixture
def model() -> _Model:
    return _Model(messages=iter([AIMessage("Un ensemble est une collection.")] * 2), prompts=[])


def test_answer_is_a_text(exercise: ModuleType, model: _Model) -> None:
    assert exercise.build_chain(model).invoke(_INPUT) == "Un ensemble est une collection."


def test_prompt_has_a_system_and_a_human_message(exercise: ModuleType, model: _Model) -> None:
    exercise.build_chain(model).invoke(_INPUT)
    assert [(message.type, message.content) for message in model.prompts[0]] == [
        ("system", "Answer in French, in one sentence."),
        ("human", "What is {a set}?"),
    ]


def test_chain_streams_what_the_model_streams(exercise: ModuleType, model: _Model) -> None:
    pieces = list(exercise.build_chain(model).stream(_INPUT))
    assert len(pieces) > 3
    assert "".join(pieces) == "Un ensemble est une collection."


def test_missing_variable_is_an_error(exercise: ModuleType, model: _Model) -> None:
    with pytest.raises(KeyError, match="language"):
        exercise.build_chain(model).invoke({"question": "What is a set?"})
