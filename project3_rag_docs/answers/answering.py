"""Searching and answering: the work behind the routes, without HTTP."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, cast
from uuid import UUID, uuid4

from fastapi import Depends, Request
from langchain_core.messages import AIMessageChunk

from project1_qa_api.answering import milliseconds_since, usage_of
from project1_qa_api.schemas import Token, Usage
from project3_rag_docs.answers.chain import State, Steps, stream
from project3_rag_docs.answers.citations import Cited, CitedAnswer
from project3_rag_docs.schemas import (
    AnswerDone,
    Citation,
    DocumentAnswer,
    DocumentQuestion,
    SearchRequest,
    Source,
    Sources,
)
from project3_rag_docs.search.rankings import Hit

AnswerEvent = Sources | Token | AnswerDone


@dataclass(frozen=True)
class DocumentAnswerer:
    """Searches and answers for one owner at a time.

    Attributes:
        steps: The chain's.
        model_name: Named in answers of an endpoint that does not say which model it was.
    """

    steps: Steps
    model_name: str

    async def search(self, owner_id: UUID, request: SearchRequest) -> list[Hit]:
        """Return the best hits, the best first.

        Raises:
            NotReady, ModelUnavailable, ModelTimeout, DatabaseUnavailable: see `shared.errors`.
        """
        state = _question(owner_id, request.query, request)
        hits = await self.steps.retrieve(state)
        return await self.steps.reranker.rerank(request.query, hits, request.k)

    async def answer(self, owner_id: UUID, request: DocumentQuestion) -> DocumentAnswer:
        """Answer a question, and wait for the whole answer.

        Raises:
            NotReady, ModelUnavailable, ModelTimeout, InputTooLongForModel, DatabaseUnavailable: see `shared.errors`.
        """
        text = ""
        async for event in self.stream(owner_id, request):
            match event:
                case Token():
                    text += event.text
                case AnswerDone():
                    return DocumentAnswer(answer=text, **event.model_dump())
        raise AssertionError("a stream ends with `done`")

    async def stream(self, owner_id: UUID, request: DocumentQuestion) -> AsyncGenerator[AnswerEvent]:
        """Answer a question, and give the answer as it is written: the sources, its tokens, then one `AnswerDone`.

        Raises:
            The same as `answer`: before the first event, or between two.
        """
        started = perf_counter()
        question = _question(owner_id, request.question, request)
        cited = CitedAnswer(request.question, [])
        usage: Usage | None = None
        model: str | None = None
        async with aclosing(cast("AsyncGenerator[Any]", stream(self.steps, question))) as pieces:
            async for piece in pieces:
                if not isinstance(piece, AIMessageChunk):
                    cited = CitedAnswer(request.question, piece)
                    yield Sources(sources=_sources(piece))
                    continue
                usage = usage_of(piece) or usage
                model = piece.response_metadata.get("model_name") or model or self.model_name
                if text := cited.add(piece.text):
                    yield Token(text=text)
        if text := cited.end():
            yield Token(text=text)
        yield AnswerDone(
            id=uuid4(),
            citations=[citation_of(one) for one in cited.citations()],
            model=model,
            usage=usage,
            latency_ms=milliseconds_since(started),
        )


def _question(owner_id: UUID, question: str, request: SearchRequest | DocumentQuestion) -> State:
    return {"owner_id": owner_id, "question": question, "k": request.k, "document_ids": request.document_ids}


def _sources(passages: Sequence[Hit]) -> list[Source]:
    return [
        Source(
            marker=number,
            document_id=hit.document_id,
            filename=hit.filename,
            page=hit.page,
            heading=hit.heading,
            chunk_id=hit.chunk_id,
            text=hit.text,
        )
        for number, hit in enumerate(passages, start=1)
    ]


def citation_of(cited: Cited) -> Citation:
    """Write down what a part of an answer rests on."""
    passage = cited.passage
    return Citation(
        marker=cited.marker,
        document_id=passage.document_id,
        filename=passage.filename,
        page=passage.page,
        chunk_id=passage.chunk_id,
        quote=cited.quote,
    )


async def get_document_answerer(request: Request) -> DocumentAnswerer:
    """Return the answerer of the app."""
    answerer: DocumentAnswerer = request.app.state.document_answerer
    return answerer


DocumentAnswererDep = Annotated[DocumentAnswerer, Depends(get_document_answerer)]
