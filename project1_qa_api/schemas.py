"""What goes over the wire in stage 1."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from shared.problems import Problem
from shared.schemas import INTEGRAL, NOT_BLANK, NOT_BLANK_PATTERN, WITHOUT_NUL, RequestBody

# The validators say what is wrong in words; the patterns say the same to whoever reads the OpenAPI document.
Question = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000),
    NOT_BLANK,
    WITHOUT_NUL,
    Field(
        description="1 to 4,000 characters, not blank.",
        examples=["What is an event loop?"],
        json_schema_extra={"pattern": NOT_BLANK_PATTERN},
    ),
]
SystemPrompt = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000),
    WITHOUT_NUL,
    Field(json_schema_extra={"pattern": r"^[^\x00]*$"}),
]


class AskRequest(RequestBody):
    """A question, and how it is to be answered."""

    question: Question
    system: SystemPrompt | None = Field(
        default=None,
        description="What the model is told before the question, in place of the service's own.",
        examples=["You are a pirate."],
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="0 is the most predictable.",
        examples=[0.2],
    )
    max_tokens: Annotated[int, Field(ge=1, le=100_000), INTEGRAL] | None = Field(
        default=None, description="The longest answer, in tokens.", examples=[200]
    )


class Usage(BaseModel):
    """How much a model read and wrote, in tokens."""

    input_tokens: int
    output_tokens: int


class AskResponse(BaseModel):
    """A whole answer."""

    id: UUID
    answer: str
    model: str = Field(description="The model that answered.", examples=["smollm2-135m-instruct"])
    usage: Usage | None = Field(description="null if the endpoint does not say.")
    latency_ms: float = Field(description="From the question to the end of the answer.", examples=[843.2])


class Token(BaseModel):
    """`event: token`: the next piece of the answer."""

    text: str


class Done(BaseModel):
    """`event: done`: the answer is complete."""

    id: UUID
    model: str
    usage: Usage | None
    finish_reason: str = Field(description="`stop`; or `length` if `max_tokens` cut the answer.")
    latency_ms: float


class BatchRequest(RequestBody):
    """Several questions at once."""

    questions: list[Question] = Field(
        min_length=1, max_length=20, examples=[["What is an event loop?", "What is a coroutine?"]]
    )


class Answered(BaseModel):
    """A question of a batch, with its answer."""

    question: str
    answer: str


class Failed(BaseModel):
    """A question of a batch, with what went wrong with it."""

    question: str
    error: Problem


class BatchResponse(BaseModel):
    """The items, in the order of the questions."""

    items: list[Answered | Failed]


class Exchange(BaseModel):
    """A question that was answered."""

    id: UUID
    question: str
    answer: str
    model: str
    created_at: datetime


class HistoryResponse(BaseModel):
    """The last exchanges of whoever asks, newest first."""

    items: list[Exchange]
