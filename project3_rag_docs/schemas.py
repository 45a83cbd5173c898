"""Requests and responses of stage 3."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from project1_qa_api.schemas import Question, ReasoningText, Usage
from project3_rag_docs.search.filters import DocumentFilter, Range
from shared.schemas import INTEGRAL, NOT_BLANK, NOT_BLANK_PATTERN, WITHOUT_NUL, RequestBody

PlainText = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL cannot store NUL characters
_NO_OTHER_NAMES = Field(json_schema_extra={"additionalProperties": False})
_VISIBLE = Field(json_schema_extra={"pattern": NOT_BLANK_PATTERN})
MetadataName = Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
MetadataValue = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] | bool | int | FiniteFloat
Metadata = Annotated[dict[MetadataName, MetadataValue], Field(max_length=50), _NO_OTHER_NAMES]
Tags = Annotated[list[Annotated[str, Field(max_length=64), _VISIBLE, NOT_BLANK, WITHOUT_NUL]], Field(max_length=50)]


class DocumentRead(BaseModel):
    """A document and the state of its ingestion."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(validation_alias=AliasChoices("public_id", "id"))
    version: int = Field(description="1, and one more each time that the document was replaced.")
    new_version: Literal["processing", "failed"] | None = Field(
        default=None,
        description="The state of the version that will replace this one; null if there is none, and in events.",
    )
    filename: str
    media_type: str = Field(description="Detected by content, and by name if the content is plain text.")
    size_bytes: int
    status: Literal["processing", "ready", "failed"]
    progress: float = Field(ge=0, le=1, description="The share of its chunks that are embedded.")
    queue_position: int | None = Field(
        default=None,
        description="How many documents are ingested before this one; null if it does not wait, and in events.",
    )
    chunk_count: int = Field(description="Number of embedded chunks. They are searchable once the document is `ready`.")
    error: str | None = Field(description="Why it `failed`, in a sentence for the user.")
    notice: str | None = Field(
        description="What could not be read of a `ready` document, in sentences for the user.",
        examples=["3 of 12 pages are images, in which no text was recognised: 2, 5, 9."],
    )
    metadata: dict[str, str | bool | int | float] = Field(validation_alias=AliasChoices("custom", "metadata"))
    tags: list[str]
    collection_id: UUID | None = Field(description="The collection that it is in.")
    created_at: datetime


class CollectionBody(RequestBody):
    """A collection to create, or its new name."""

    name: Annotated[str, Field(max_length=100), _VISIBLE, NOT_BLANK, WITHOUT_NUL]


class CollectionRead(BaseModel):
    """A collection of documents."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    access: Literal["owner", "read", "write"] = Field(
        default="owner", description="`read` or `write` if another user shares it."
    )


class CollectionList(BaseModel):
    """Collections by name."""

    items: list[CollectionRead]


class UploadFromUrl(RequestBody):
    """A document to download."""

    url: Annotated[str, Field(min_length=1, max_length=2000), WITHOUT_NUL] = Field(
        description="An address that begins with http:// or https://, of a public server.",
        examples=["https://example.com/handbook.pdf"],
    )
    filename: Annotated[str, Field(max_length=255), _VISIBLE, NOT_BLANK, WITHOUT_NUL] | None = Field(
        default=None, description="Default: the name that the server gives the file."
    )
    metadata: Metadata | None = None
    tags: Tags | None = None
    collection_id: Annotated[UUID, Field(strict=False)] | None = None


class RefusedFile(BaseModel):
    """A file of an archive that was not stored."""

    path: str = Field(description="Its path in the archive.")
    reason: str


class ArchiveReport(BaseModel):
    """The documents of the files of an archive, and the files that were refused."""

    documents: list[DocumentRead]
    refused: list[RefusedFile]


class VersionRead(BaseModel):
    """A version of a document."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    status: Literal["processing", "ready", "failed", "replaced"] = Field(
        description="A `processing` version replaces the earlier one when it is ready. Of a `replaced` one, the "
        "file and the chunks are gone."
    )
    filename: str
    media_type: str
    size_bytes: int
    sha256: str = Field(description="Equal for equal contents of the same type.")
    error: str | None = None
    created_at: datetime
    replaced_at: datetime | None = None


class VersionList(BaseModel):
    """The versions of a document, newest first."""

    items: list[VersionRead]


class DocumentUpdate(RequestBody):
    """Changes of a document; omitted fields stay unchanged."""

    filename: Annotated[str, Field(max_length=255), _VISIBLE, NOT_BLANK, WITHOUT_NUL] | None = None
    metadata: Annotated[dict[MetadataName, MetadataValue | None], Field(max_length=50), _NO_OTHER_NAMES] | None = Field(
        default=None, description="Values to set, by name; null removes one."
    )
    tags: Tags | None = Field(default=None, description="Replaces all tags.")
    collection_id: Annotated[UUID, Field(strict=False)] | None = Field(
        default=None, description="The collection to put it into; null takes it out."
    )


class DocumentPage(BaseModel):
    """A page of documents, newest first."""

    items: list[DocumentRead]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class TagRead(BaseModel):
    """A tag of documents."""

    tag: str
    count: int = Field(description="The number of documents with it.")


class TagList(BaseModel):
    """Tags by name."""

    items: list[TagRead]


class MetadataRead(BaseModel):
    """A name in the metadata of documents."""

    name: str
    count: int = Field(description="The number of documents that have it.")
    values: list[str | bool | int | float] = Field(
        description="Its values, most frequent first; at most 50, and without texts of more than 200 characters."
    )


class MetadataList(BaseModel):
    """Names in the metadata of documents, with their values."""

    items: list[MetadataRead]


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


class ValueRange(RequestBody):
    """Limits of a value: numbers, or texts such as dates in ISO 8601, compared by code points."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    gt: PlainText | FiniteFloat | None = None
    gte: PlainText | FiniteFloat | None = None
    lt: PlainText | FiniteFloat | None = None
    lte: PlainText | FiniteFloat | None = None

    @model_validator(mode="after")
    def _has_limit(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("needs one of gt, gte, lt, lte")
        return self


class DocumentFilterRequest(RequestBody):
    """A condition on documents. All parts of it apply."""

    tags: Annotated[list[PlainText], Field(min_length=1, max_length=50)] | None = Field(
        default=None, description="Documents with at least one of these tags."
    )
    collection_ids: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(min_length=1, max_length=50)] | None = (
        Field(default=None, description="Documents in one of these collections.")
    )
    media_types: Annotated[list[PlainText], Field(min_length=1, max_length=20)] | None = None
    created_from: Annotated[AwareDatetime, Field(strict=False)] | None = None
    created_before: Annotated[AwareDatetime, Field(strict=False)] | None = None
    metadata: (
        Annotated[
            dict[
                MetadataName,
                MetadataValue | Annotated[list[MetadataValue], Field(min_length=1, max_length=100)] | ValueRange,
            ],
            Field(max_length=20),
            _NO_OTHER_NAMES,
        ]
        | None
    ) = Field(
        default=None,
        description="By name: a value, a list of values of which the document has one, or a range.",
        examples=[{"year": {"gte": 2020}, "author": ["Ada", "Bob"]}],
    )

    def to_filter(self) -> DocumentFilter:
        """Convert it to the condition of a search."""
        return DocumentFilter(
            tags=self.tags or (),
            collection_ids=self.collection_ids or (),
            media_types=self.media_types or (),
            created_from=self.created_from,
            created_before=self.created_before,
            metadata={
                name: Range(**wanted.model_dump()) if isinstance(wanted, ValueRange) else wanted
                for name, wanted in (self.metadata or {}).items()
            },
        )


class Neighbours(BaseModel):
    """A chunk and those around it, in document order."""

    items: list[ChunkRead]


DocumentIds = Annotated[
    list[Annotated[UUID, Field(strict=False)]],
    Field(min_length=1, max_length=1000, description="Search only these documents. Default: all documents."),
]


class SearchRequest(RequestBody):
    """A search query."""

    query: Question
    k: Annotated[int, Field(ge=1, le=50), INTEGRAL] = Field(default=10, description="Maximum number of hits.")
    document_ids: DocumentIds | None = None
    filter: DocumentFilterRequest | None = None
    min_score: Annotated[float, Field(ge=0, le=1)] = Field(default=0, description="Leave out hits with a lower score.")


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
    created_at: datetime = Field(description="Time of the document's upload.")
    media_type: str = Field(description="Of the document; the pages of PDFs can be drawn.")
    score: float = Field(
        description="The probability that the passage is relevant, from 0 to 1, comparable between searches: from 0.5 "
        "on it probably is. Hits in two languages alternate, so it may rise within a response. With a reranker, the "
        "relevance that this returns."
    )


class SearchResponse(BaseModel):
    """Search hits, best first."""

    hits: list[HitRead]


class Turn(RequestBody):
    """A message of the conversation before a question."""

    role: Literal["user", "assistant"]
    content: Annotated[PlainText, Field(max_length=20_000)]


class DocumentQuestion(RequestBody):
    """A question about the documents."""

    question: Question
    k: Annotated[int, Field(ge=1, le=50), INTEGRAL] = Field(
        default=8,
        description="Maximum number of passages in the prompt; fewer if they exceed its size.",
    )
    document_ids: DocumentIds | None = None
    filter: DocumentFilterRequest | None = None
    history: Annotated[list[Turn], Field(max_length=20)] = Field(
        default=[], description="The conversation so far, oldest first, to which the question may refer."
    )
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
    recognised: bool = Field(description="Whether the text was recognised in an image (OCR), and may have errors.")
    media_type: str = Field(description="Of the document; the pages of PDFs can be drawn.")


class Sources(BaseModel):
    """`event: sources`: the passages in the prompt. `done` tells which of them the answer cites."""

    sources: list[Source]


class SummaryProgress(BaseModel):
    """`event: progress`: a part of the document has been read."""

    done: int
    total: int = Field(
        description="The number of parts so far; it grows if their summaries have to be summarized, too."
    )


class SummaryDone(BaseModel):
    """`event: done`: the summary is complete."""

    version: int = Field(description="The version of the document that was summarized.")
    model: str
    usage: Usage | None = Field(description="Tokens of all calls together; null if the summary was stored already.")
    cached: bool = Field(description="Whether the summary was stored already.")
    latency_ms: float


class DocumentSummary(SummaryDone):
    """The summary of a document."""

    summary: str


class AnswerDone(BaseModel):
    """`event: done`: the answer is complete."""

    id: UUID
    citations: list[Citation]
    model: str | None
    usage: Usage | None
    latency_ms: float
