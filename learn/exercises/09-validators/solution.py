"""Strictness and validators: rules that a type cannot express."""

from typing import Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator


class Range(BaseModel):
    """Pages of a document, counted from 1."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str
    first: int
    last: int

    @field_validator("title")
    @classmethod
    def strip_title(cls, title: str) -> str:
        """Take the white space from around the title."""
        stripped = title.strip()
        if not stripped:
            raise ValueError("the title is empty")
        return stripped

    @model_validator(mode="after")
    def check_order(self) -> Self:
        """Refuse a range that ends before it starts."""
        if self.first > self.last:
            raise ValueError("first must not be larger than last")
        return self
