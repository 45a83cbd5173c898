"""A chat model whose answers contain only what the passages support.

It is a chat model so that LangGraph streams it in every mode: clients receive only words that are checked, and none is
retracted later.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.constants import TAG_NOSTREAM
from pydantic import ConfigDict

from project3_rag_docs.answers.citations import CitedAnswer
from shared.models.chat import ChatModel
from shared.models.content_blocks import MISPLACED
from shared.models.provider_fields import REASONING


class CitedModel(BaseChatModel):
    """Passes another model's answer through `CitedAnswer`. Created for one answer.

    Attributes:
        writer: The model that answers.
        cited: The checker of the answer.
    """

    writer: ChatModel
    cited: CitedAnswer

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @property
    def _llm_type(self) -> str:
        return "cited"

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        del stop, run_manager
        written = self.writer.astream(messages, {"tags": [TAG_NOSTREAM]}, **kwargs)
        async with aclosing(cast("Any", written)) as chunks:
            async for chunk in chunks:
                apart: dict[str, Any] = (
                    {REASONING: reasoning} if (reasoning := chunk.additional_kwargs.get(REASONING)) else {}
                )
                if MISPLACED in chunk.additional_kwargs and (shown := self.cited.restart()):
                    apart[MISPLACED] = shown
                text = self.cited.add(chunk.text)
                finished = "finish_reason" in chunk.response_metadata
                if text or apart or finished or chunk.usage_metadata:
                    metadata = chunk.response_metadata if finished else {}
                    yield _chunk(text, chunk.usage_metadata, metadata, additional_kwargs=apart)
        yield _chunk(self.cited.finish(), chunk_position="last")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError


def _chunk(text: str, usage: Any = None, metadata: dict[str, Any] | None = None, **more: Any) -> ChatGenerationChunk:  # noqa: ANN401  fields of a message
    message = AIMessageChunk(content=text, usage_metadata=usage, response_metadata=metadata or {}, **more)
    return ChatGenerationChunk(message=message)
