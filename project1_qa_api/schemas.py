"""Requests and responses of stage 1."""

import operator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from shared.problems import Problem
from shared.schemas import INTEGRAL, NOT_BLANK, NOT_BLANK_PATTERN, WITHOUT_NUL, RequestBody

# The validators produce readable messages; the patterns describe the same rules in the OpenAPI document.
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


ReasoningText = Annotated[
    str | None,
    Field(
        exclude_if=lambda reasoning: reasoning is None,
        description="The model's reasoning, if the request asks for it and the model sends it.",
    ),
]


class AskRequest(RequestBody):
    """A question, and options for the answer."""

    question: Question
    system: SystemPrompt | None = Field(
        default=None,
        description="System prompt, instead of the default of the service.",
        examples=["You are a pirate."],
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="Randomness of the answer; 0 is the most predictable.",
        examples=[0.2],
    )
    max_tokens: Annotated[int, Field(ge=1, le=100_000), INTEGRAL] | None = Field(
        default=None, description="Maximum length of the answer, in tokens.", examples=[200]
    )
    reasoning: bool = Field(
        default=False,
        description="Whether to return the model's reasoning too, if it sends any, apart from the answer.",
        examples=[False],
    )


class Usage(BaseModel):
    """Token usage of a model call."""

    input_tokens: int
    output_tokens: int


class AskResponse(BaseModel):
    """A complete answer."""

    id: UUID
    answer: str
    model: str = Field(description="The model that answered.", examples=["smollm2-135m-instruct"])
    usage: Usage | None = Field(description="null if the endpoint does not report it.")
    latency_ms: float = Field(description="Time until the end of the answer.", examples=[843.2])
    reasoning: ReasoningText = None


class Token(BaseModel):
    """`event: token`: the next part of the answer."""

    text: str


class Reasoning(BaseModel):
    """`event: reasoning`: the next part of the model's reasoning, if the request asks for it."""

    text: str
    replaces_tokens: bool = Field(
        default=False,
        exclude_if=operator.not_,
        description="true if it was sent as tokens, before the model showed that it was reasoning.",
    )


class Done(BaseModel):
    """`event: done`: the answer is complete."""

    id: UUID
    model: str
    usage: Usage | None
    finish_reason: str = Field(description="`stop`, or `length` if `max_tokens` truncated the answer.")
    latency_ms: float


class BatchRequest(RequestBody):
    """Several questions at once."""

    questions: list[Question] = Field(
        min_length=1, max_length=20, examples=[["What is an event loop?", "What is a coroutine?"]]
    )


class Answered(BaseModel):
    """An answered question of a batch."""

    question: str
    answer: str


class Failed(BaseModel):
    """A failed question of a batch."""

    question: str
    error: Problem


class BatchResponse(BaseModel):
    """Answers and errors, in the order of the questions."""

    items: list[Answered | Failed]


class Exchange(BaseModel):
    """An answered question in the history."""

    id: UUID
    question: str
    answer: str
    model: str
    created_at: datetime


class HistoryResponse(BaseModel):
    """The caller's last exchanges, newest first."""

    items: list[Exchange]
