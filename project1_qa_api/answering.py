"""Ask the model: the logic behind the routes, without HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, cast
from uuid import uuid4

from fastapi import Depends, Request
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from project1_qa_api.schemas import AskRequest, AskResponse, Done, Reasoning, Token, Usage
from shared.errors import ServiceError
from shared.models.chat import ChatModel
from shared.models.content_blocks import MISPLACED
from shared.models.provider_fields import REASONING


@dataclass(frozen=True)
class Answerer:
    """Answers questions with a chat model.

    Attributes:
        chat_model: From `shared.models.chat`; its errors pass through.
        model_name: Reported if the endpoint does not name the model.
    """

    chat_model: ChatModel
    system_prompt: str
    model_name: str

    async def answer(self, ask: AskRequest) -> AskResponse:
        """Answer a question.

        Raises:
            MODEL_ERRORS: see `shared.errors`.
        """
        started = perf_counter()
        message = await self.chat_model.ainvoke(self._prompt(ask), **_options(ask))
        return AskResponse(
            id=uuid4(),
            answer=message.text,
            model=message.response_metadata.get("model_name") or self.model_name,
            usage=token_usage(message),
            latency_ms=milliseconds_since(started),
            reasoning=message.additional_kwargs.get(REASONING) if ask.reasoning else None,
        )

    async def answer_all(
        self, questions: Sequence[str], *, concurrency: int, on_answer: Callable[[str, AskResponse], None]
    ) -> list[AskResponse | ServiceError]:
        """Answer several questions concurrently. A question that fails does not affect the others.

        Args:
            on_answer: Called with each answer as soon as it arrives.

        Returns:
            The answer or the error of each question, in the order of the questions.
        """
        slots = asyncio.Semaphore(concurrency)

        async def answer_one(question: str) -> AskResponse | ServiceError:
            try:
                async with slots:
                    response = await self.answer(AskRequest(question=question))
            except ServiceError as error:
                return error
            on_answer(question, response)
            return response

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer_one(question)) for question in questions]
        return [task.result() for task in tasks]

    async def stream(self, ask: AskRequest) -> AsyncGenerator[Reasoning | Token | Done]:
        """Stream the answer to a question as the model generates it: reasoning, tokens, then one `Done`.

        Raises:
            MODEL_ERRORS: before the first token, or between two.
        """
        started = perf_counter()
        usage: Usage | None = None
        metadata: dict[str, Any] = {}
        # LangChain annotates generators as iterators, which have no `aclose`.
        chunks = cast("AsyncGenerator[AIMessageChunk]", self.chat_model.astream(self._prompt(ask), **_options(ask)))
        async with aclosing(chunks):
            async for chunk in chunks:
                usage = token_usage(chunk) or usage
                metadata |= chunk.response_metadata
                if reasoning := reasoning_of(chunk):
                    yield reasoning
                if chunk.text:
                    yield Token(text=chunk.text)
        yield Done(
            id=uuid4(),
            model=metadata.get("model_name") or self.model_name,
            usage=usage,
            finish_reason=metadata["finish_reason"],
            latency_ms=milliseconds_since(started),
        )

    def _prompt(self, ask: AskRequest) -> list[Any]:
        return [SystemMessage(ask.system or self.system_prompt), HumanMessage(ask.question)]


def _options(ask: AskRequest) -> dict[str, Any]:
    return ask.model_dump(include={"temperature", "max_tokens"}, exclude_none=True)


def token_usage(message: AIMessage) -> Usage | None:
    """Return the token usage of a message, or None if the endpoint does not report it."""
    usage = message.usage_metadata
    if usage is None:
        return None
    return Usage(input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"])


def reasoning_of(chunk: AIMessageChunk) -> Reasoning | None:
    """Return the reasoning that a chunk adds."""
    text = chunk.additional_kwargs.get(REASONING)
    return Reasoning(text=text, replaces_tokens=MISPLACED in chunk.additional_kwargs) if text else None


def milliseconds_since(started: float) -> float:
    """Return the milliseconds since a value of `perf_counter`."""
    return round((perf_counter() - started) * 1000, 1)


async def get_answerer(request: Request) -> Answerer:
    """Return the app's answerer."""
    state = request.app.state
    return Answerer(state.chat_model, state.settings.system_prompt, state.settings.llm_model)


AnswererDep = Annotated[Answerer, Depends(get_answerer)]
