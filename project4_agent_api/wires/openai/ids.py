"""Ids of OpenAI's API: the id of a run or a thread with a prefix."""

import re
from uuid import UUID

from shared.errors import NotFound

RESPONSE, CONVERSATION = "resp_", "conv_"


def encode_id(prefix: str, id_: UUID) -> str:
    """Return the id of a run or a thread as clients know it."""
    return prefix + id_.hex


def decode_id(prefix: str, text: str) -> UUID:
    """Return the id of a run or a thread. The id of LangGraph's API is accepted too.

    Raises:
        NotFound: if the text is no id.
    """
    value = text.removeprefix(prefix)
    if not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value, re.ASCII):
        raise NotFound(f"There is nothing with this id: it begins with {prefix}.")
    return UUID(value)
