"""Requests and responses of stage 3."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from project1_qa_api.schemas import Question, ReasoningText, Usage
from shared.schemas import INTEGRAL, RequestBody


class DocumentRead(BaseModel):
    """A document and the state of its ingestion."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    filename: str
    media_type: str = Field(description="Detected by content, and by name if the content is plain text.")
    size_bytes: int
    status: Literal["processing", "ready", "failed"]
    progress: float = Field(ge=0, le=1, description="The share of its chunks that are embedded.")
    chunk_count: int = Field(description="Number of embedded chunks. They are searchable once the document is `ready`.")
    error: str | None = Field(description="Why it `failed`, in a sentence for the user.")
    notice: str | None = Field(
        description="What could not be read of a `ready` document, in sentences for the user.",
        examples=["3 of 12 pages are images, in which no text was recognised: 2, 5, 9."],
    )
    created_at: datetime


class DocumentPage(BaseModel):
    """A page of documents, newest first."""

    items: list[DocumentRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class ChunkRead(BaseModel):
    """A chunk of a document: the unit of search and citation."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    index: int = Field(description="Position in the document, from 0.")
    page: int | None = Field(description="Page, slide or sheet, from 1; null if the format has none.")
    heading: str | None = Field(description="Path of the headings above it.", examples=["Guide > Install"])
    text: str
    recognised: bool = Field(description="Whether the text was recognised in an image (OCR), and may have errors.")


class ChunkPage(BaseModel):
    """A page of chunks, in document order."""

    items: list[ChunkRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


DocumentIds = Annotated[
    list[Annotated[UUID, Field(strict=False)]],
    Field(min_length=1, max_length=1000, description="Search only these documents. Default: all documents."),
]


class SearchRequest(RequestBody):
    """A search query."""

    query: Question
    k: Annotated[int, Field(ge=1, le=50), INTEGRAL] = Field(default=10, description="Maximum number of hits.")
    document_ids: DocumentIds | None = None


class HitRead(BaseModel):
    """A chunk that was found."""

    model_config = ConfigDict(from_attributes=True)

    chunk_id: UUID
    document_id: UUID
    filename: str
    page: int | None
    heading: str | None
    text: str
    recognised: bool = Field(description="Whether the text was recognised in an image (OCR), and may have errors.")
    score: float = Field(
        description="The probability that the passage is relevant, from 0 to 1, comparable between searches: from 0.5 "
        "on it probably is. Hits in two languages alternate, so it may rise within a response. With a reranker, the "
        "relevance that this returns."
    )


class SearchResponse(BaseModel):
    """Search hits, best first."""

    hits: list[HitRead]


class DocumentQuestion(RequestBody):
    """A question about the documents."""

    question: Question
    k: Annotated[int, Field(ge=1, le=50), INTEGRAL] = Field(
        default=8,
        description="Maximum number of passages in the prompt; fewer if they exceed its size.",
    )
    document_ids: DocumentIds | None = None
    reasoning: bool = Field(
        default=False,
        description="Whether to return the model's reasoning too, if it sends any, apart from the answer.",
        examples=[False],
    )


class Citation(BaseModel):
    """A quote from a passage that the answer cites: one for each statement and marker."""

    marker: int = Field(description="Number of the marker in the answer, such as `[1]`.")
    document_id: UUID
    filename: str
    page: int | None
    chunk_id: UUID
    quote: str = Field(description="The sentence of the chunk that matches the statement; wrapped lines are joined.")


class DocumentAnswer(BaseModel):
    """An answer from the documents, or the statement that they contain no answer."""

    id: UUID
    answer: str
    citations: list[Citation] = Field(description="Empty if the documents contain no answer.")
    model: str | None = Field(description="The model that answered; null if the search found no passages.")
    usage: Usage | None
    latency_ms: float
    reasoning: ReasoningText = None


class Source(BaseModel):
    """A passage in the prompt."""

    marker: int
    document_id: UUID
    filename: str
    page: int | None
    heading: str | None
    chunk_id: UUID
    text: str


class Sources(BaseModel):
    """`event: sources`: the passages in the prompt. `done` tells which of them the answer cites."""

    sources: list[Source]


class AnswerDone(BaseModel):
    """`event: done`: the answer is complete."""

    id: UUID
    citations: list[Citation]
    model: str | None
    usage: Usage | None
    latency_ms: float
