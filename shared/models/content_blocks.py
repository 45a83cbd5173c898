"""Messages of the chat model in LangChain's terms: their content blocks, and one form for the content of all."""

from typing import cast

from langchain_core.messages import AIMessage, AIMessageChunk, ContentBlock
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
