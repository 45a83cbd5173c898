"""Messages of the chat model in LangChain's terms: their content blocks, and one form for the content of all."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ContentBlock
from langchain_core.messages.block_translators import openai, register_translator

from shared.models.provider_fields import REASONING

PROVIDER = "openai-compatible"  # in `response_metadata`: selects the translator below
MISPLACED = "misplaced_reasoning"  # in `additional_kwargs` of a chunk; see `ReasoningSplitter.misplaced`
_PLAIN_BLOCKS = {"text", "reasoning", "tool_call", "invalid_tool_call"}


def _with_reasoning(message: AIMessage, blocks: list[ContentBlock]) -> list[ContentBlock]:
    reasoning = message.additional_kwargs.get(REASONING)
    return [{"type": "reasoning", "reasoning": reasoning}, *blocks] if reasoning else blocks


def _translate(message: AIMessage) -> list[ContentBlock]:
    return _with_reasoning(message, openai.translate_content(message))


def _translate_chunk(message: AIMessageChunk) -> list[ContentBlock]:
    return _with_reasoning(message, openai.translate_content_chunk(message))


register_translator(PROVIDER, _translate, _translate_chunk)


def with_plain_texts(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages with text instead of files of text, which LangChain does not convert for OpenAI."""
    return [_with_plain_texts(message) for message in messages]


def _with_plain_texts(message: BaseMessage) -> BaseMessage:
    content = message.content
    if not isinstance(content, list) or not any(isinstance(block, dict) and _is_plain(block) for block in content):
        return message
    blocks = [
        {"type": "text", "text": block["text"]} if isinstance(block, dict) and _is_plain(block) else block
        for block in content
    ]
    return message.model_copy(update={"content": blocks})


def _is_plain(block: dict[str, Any]) -> bool:
    return block.get("type") == "text-plain" and isinstance(block.get("text"), str)


def plain_message(message: AIMessage) -> AIMessage:
    """Return a message whose content is the text of the answer.

    LangChain assembles a list of blocks if the message was streamed in its newer protocol, a string otherwise. The
    string is what all endpoints take back. Reasoning that was streamed as the answer is cut off.
    """
    kwargs = dict(message.additional_kwargs)
    misplaced = kwargs.pop(MISPLACED, 0)
    metadata = message.response_metadata
    content = message.content
    if isinstance(content, list) and all(
        isinstance(block, dict) and block.get("type") in _PLAIN_BLOCKS for block in content
    ):
        content = message.text
        metadata = {key: value for key, value in metadata.items() if key != "output_version"}
    elif not misplaced:
        return message
    if misplaced:
        content = cast("str", content)[misplaced:].lstrip()
    update = {"content": content, "additional_kwargs": kwargs, "response_metadata": metadata}
    return message.model_copy(update=update)
