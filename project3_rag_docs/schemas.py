"""What goes over the wire in stage 3."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from project1_qa_api.schemas import Question, Usage
from shared.schemas import INTEGRAL, RequestBody


class DocumentRead(BaseModel):
    """A document, as shown."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    filename: str
    media_type: str = Field(description="By its content, and by its name where the content is plain text.")
    size_bytes: int
    status: Literal["processing", "ready", "failed"]
    progress: float = Field(ge=0, le=1, description="The share of its chunks that are embedded.")
    chunk_count: int = Field(description="Chunks that are embedded. They are found when the document is `ready`.")
    error: str | None = Field(description="Why it `failed`, in words for a person.")
    created_at: datetime


class DocumentPage(BaseModel):
    """Some documents, newest first."""

    items: list[DocumentRead]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class ChunkRead(BaseModel):
    """A piece of a document's text, as it is searched and quoted."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    index: int = Field(description="Its place in the document, from 0.")
    page: int | None = Field(description="The page, sheet or slide, from 1, where the format has any.")
    heading: str | None = Field(description="The headings above it.", examples=["Guide > Install"])
    text: str


class ChunkPage(BaseModel):
    """Some chunks, in the order of the document."""

    items: list[ChunkRead]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


DocumentIds = Annotated[
    list[Annotated[UUID, Field(strict=False)]],
    Field(min_length=1, max_length=1000, description="Only in these documents. Not given: in all."),
]


class SearchRequest(RequestBody):
    """What to look for."""

    query: Question
    k: Annotated[int, Field(ge=1, le=50), INTEGRAL] = Field(default=10, description="Hits, at most.")
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
    score: float = Field(
        description="Higher is better, within one answer: the reranker's relevance, or without one 1/rank."
    )


class SearchResponse(BaseModel):
    """The best hits first."""

    hits: list[HitRead]


class DocumentQuestion(RequestBody):
    """A question about the documents."""

    question: Question
    k: Annotated[int, Field(ge=1, le=50), INTEGRAL] = Field(
        default=8, description="Passages that the model is shown, at most; fewer if they are too long together."
    )
    document_ids: DocumentIds | None = None


class Citation(BaseModel):
    """What a part of the answer rests on."""

    marker: int = Field(description="As it stands in the answer: `[1]`.")
    document_id: UUID
    filename: str
    page: int | None
    chunk_id: UUID
    quote: str = Field(description="Word for word from the chunk.")


class DocumentAnswer(BaseModel):
    """An answer from the documents, or the statement that they do not say."""

    id: UUID
    answer: str
    citations: list[Citation] = Field(description="Empty where the documents do not say.")
    model: str | None = Field(description="The model that answered; null where nothing was found to ask it about.")
    usage: Usage | None
    latency_ms: float


class Source(BaseModel):
    """A passage that the model is shown."""

    marker: int
    document_id: UUID
    filename: str
    page: int | None
    heading: str | None
    chunk_id: UUID
    text: str


class Sources(BaseModel):
    """`event: sources`: what the answer will be made from. Which of them it used, `done` says."""

    sources: list[Source]


class AnswerDone(BaseModel):
    """`event: done`: the answer is complete."""

    id: UUID
    citations: list[Citation]
    model: str | None
    usage: Usage | None
    latency_ms: float
