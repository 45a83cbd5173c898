"""Search documents and answer questions about them: the service behind the routes, without HTTP."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, cast
from uuid import UUID, uuid4

from fastapi import Depends, Request
from langchain_core.messages import AIMessageChunk

from project1_qa_api.answering import milliseconds_since, reasoning_of, token_usage
from project1_qa_api.schemas import Reasoning, Token, Usage
from project3_rag_docs.answers.chain import State, Steps, stream_chain
from project3_rag_docs.answers.citations import CitedAnswer, CitedPassage
from project3_rag_docs.schemas import (
    AnswerDone,
    Citation,
    DocumentAnswer,
    DocumentQuestion,
    SearchRequest,
    Source,
    Sources,
)
from project3_rag_docs.search.hits import Hit

AnswerEvent = Sources | Reasoning | Token | AnswerDone


@dataclass(frozen=True)
class DocumentAnswerer:
    """Searches, and answers questions, for one owner at a time.

    Attributes:
        model_name: Reported if the endpoint's response does not name the model.
    """

    steps: Steps
    model_name: str

    async def search(self, owner_id: UUID, request: SearchRequest) -> list[Hit]:
        """Return the best hits, best first.

        Raises:
            NotReady, DatabaseUnavailable, MODEL_ERRORS: see `shared.errors`.
        """
        state = _initial_state(owner_id, request.query, request)
        hits = await self.steps.retrieve(state)
        best = await self.steps.reranker.rerank(request.query, hits, request.k)
        return [hit for hit in best if hit.score >= request.min_score]

    async def answer(self, owner_id: UUID, request: DocumentQuestion) -> DocumentAnswer:
        """Answer a question, and return the complete answer.

        Raises:
            NotReady, DatabaseUnavailable, MODEL_ERRORS: see `shared.errors`.
        """
        text = reasoning = ""
        async for event in self.stream(owner_id, request):
            match event:
                case Reasoning():
                    reasoning += event.text if request.reasoning else ""
                    text = "" if event.replaces_tokens else text
                case Token():
                    text += event.text
                case AnswerDone():
                    return DocumentAnswer(answer=text, reasoning=reasoning or None, **event.model_dump())
        raise AssertionError("the stream ended without `AnswerDone`")

    async def stream(self, owner_id: UUID, request: DocumentQuestion) -> AsyncGenerator[AnswerEvent]:
        """Answer a question, and yield the sources, reasoning and tokens as they arrive, and one `AnswerDone`.

        Raises the same errors as `answer`, before the first event or between two events.
        """
        started = perf_counter()
        question = _initial_state(owner_id, request.question, request)
        cited = CitedAnswer(request.question, [])
        usage: Usage | None = None
        model: str | None = None
        async with aclosing(cast("AsyncGenerator[Any]", stream_chain(self.steps, question))) as pieces:
            async for piece in pieces:
                if not isinstance(piece, AIMessageChunk):
                    cited = CitedAnswer(request.question, piece)
                    yield Sources(sources=_sources(piece))
                    continue
                usage = token_usage(piece) or usage
                model = piece.response_metadata.get("model_name") or model or self.model_name
                if reasoning := reasoning_of(piece):
                    if reasoning.replaces_tokens:
                        reasoning.replaces_tokens = cited.restart() > 0
                    yield reasoning
                if text := cited.add(piece.text):
                    yield Token(text=text)
        if text := cited.finish():
            yield Token(text=text)
        yield AnswerDone(
            id=uuid4(),
            citations=[to_citation(passage) for passage in cited.citations()],
            model=model,
            usage=usage,
            latency_ms=milliseconds_since(started),
        )


def _initial_state(owner_id: UUID, question: str, request: SearchRequest | DocumentQuestion) -> State:
    return {
        "owner_id": owner_id,
        "question": question,
        "k": request.k,
        "document_ids": request.document_ids,
        "where": request.filter.to_filter() if request.filter else None,
        "history": request.history if isinstance(request, DocumentQuestion) else [],
    }


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
            recognised=hit.recognised,
            media_type=hit.media_type,
        )
        for number, hit in enumerate(passages, start=1)
    ]


def to_citation(cited: CitedPassage) -> Citation:
    """Convert a cited passage to its API model."""
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
    """Return the app's answerer."""
    answerer: DocumentAnswerer = request.app.state.document_answerer
    return answerer


DocumentAnswererDep = Annotated[DocumentAnswerer, Depends(get_document_answerer)]
