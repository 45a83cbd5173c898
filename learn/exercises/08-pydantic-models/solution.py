"""Pydantic models: data that is checked when it comes in."""

from typing import Literal

from pydantic import BaseModel, Field


class Message(BaseModel):
    """A message of a conversation."""

    role: Literal["user", "assistant", "system"]
    text: str = Field(min_length=1, max_length=2000)


class Chat(BaseModel):
    """A request to a model."""

    messages: list[Message] = Field(min_length=1)
    temperature: float = Field(0.7, ge=0, le=2)
    stop: str | None = None


def parse(body: str) -> Chat:
    """Return the `Chat` that a JSON text describes."""
    return Chat.model_validate_json(body)
