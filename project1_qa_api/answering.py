"""From a question to the model and back: the work behind the routes, without HTTP."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, cast
from uuid import uuid4

from fastapi import Depends, Request
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from project1_qa_api.schemas import AskRequest, AskResponse, Done, Token, Usage
from shared.models.chat import ChatModel


@dataclass(frozen=True)
class Answerer:
    """Asks one chat model.

    Attributes:
        chat_model: From `shared.models.chat`; its errors pass through.
        system_prompt: For questions that bring none of their own.
        model_name: Named in answers of an endpoint that does not say which model it was.
    """

    chat_model: ChatModel
    system_prompt: str
    model_name: str

    async def answer(self, ask: AskRequest) -> AskResponse:
        """Ask, and wait for the whole answer.

        Raises:
            ModelUnavailable, ModelTimeout, InputTooLongForModel: see `shared.errors`.
        """
        started = perf_counter()
        message = await self.chat_model.ainvoke(self._messages(ask), **_options(ask))
        return AskResponse(
            id=uuid4(),
            answer=message.text,
            model=message.response_metadata.get("model_name") or self.model_name,
            usage=usage_of(message),
            latency_ms=milliseconds_since(started),
        )

    async def stream(self, ask: AskRequest) -> AsyncGenerator[Token | Done]:
        """Ask, and give the answer as the model writes it: tokens, then one `Done`.

        Raises:
            ModelUnavailable, ModelTimeout, InputTooLongForModel: before the first token, or between two.
        """
        started = perf_counter()
        usage: Usage | None = None
        facts: dict[str, Any] = {}
        # LangChain calls its generators iterators, but only a generator can be ended early.
        chunks = cast("AsyncGenerator[AIMessageChunk]", self.chat_model.astream(self._messages(ask), **_options(ask)))
        async with aclosing(chunks):
            async for chunk in chunks:
                usage = usage_of(chunk) or usage
                facts |= chunk.response_metadata
                if chunk.text:
                    yield Token(text=chunk.text)
        yield Done(
            id=uuid4(),
            model=facts.get("model_name") or self.model_name,
            usage=usage,
            finish_reason=facts["finish_reason"],
            latency_ms=milliseconds_since(started),
        )

    def _messages(self, ask: AskRequest) -> list[Any]:
        return [SystemMessage(ask.system or self.system_prompt), HumanMessage(ask.question)]


def _options(ask: AskRequest) -> dict[str, Any]:
    return ask.model_dump(include={"temperature", "max_tokens"}, exclude_none=True)


def usage_of(message: AIMessage) -> Usage | None:
    """Return what a message says of its tokens; None where it says nothing."""
    counted = message.usage_metadata
    if counted is None:
        return None
    return Usage(input_tokens=counted["input_tokens"], output_tokens=counted["output_tokens"])


def milliseconds_since(started: float) -> float:
    """Return the milliseconds since a `perf_counter`."""
    return round((perf_counter() - started) * 1000, 1)


async def get_answerer(request: Request) -> Answerer:
    """Return the answerer of the app."""
    state = request.app.state
    return Answerer(state.chat_model, state.settings.system_prompt, state.settings.llm_model)


AnswererDep = Annotated[Answerer, Depends(get_answerer)]
