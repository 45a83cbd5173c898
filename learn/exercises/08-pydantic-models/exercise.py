"""Pydantic models: data that is checked when it comes in."""

from pydantic import BaseModel


class Message(BaseModel):
    """A message of a conversation."""

    # TODO: `role` is "user", "assistant" or "system". `text` has 1 to 2000 characters.
    #       role 只能是 "user"、"assistant"、"system" 之一；text 长 1 到 2000 个字符。


class Chat(BaseModel):
    """A request to a model."""

    # TODO: `messages`, at least one; `temperature` from 0 to 2, 0.7 if it is missing; `stop`, a text or None, None if
    #       it is missing.
    #       messages 至少一条；temperature 在 0 到 2 之间，缺省为 0.7；stop 是文本或 None，缺省为 None。


def parse(body):
    """Return the `Chat` that a JSON text describes."""
    # TODO: One line.
    #       一行即可。
    raise NotImplementedError
