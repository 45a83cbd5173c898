"""Embedding endpoints with limits, which refuse in the words of real ones."""

import json
from collections.abc import Callable
from typing import Any

from tests.support.scripted_model import Behaviour, Connection, embedding_of

Refusal = tuple[int, dict[str, Any]]

OPENAI_TOO_LONG: Refusal = (
    400,
    {"error": {"message": "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"}},
)
TEI_TOO_LONG: Refusal = (413, {"message": "`inputs` must have less than 512 tokens. Given: 534", "type": "Validation"})
LLAMA_TOO_LONG: Refusal = (500, {"error": {"message": "input (9 tokens) is too large to process. increase the batch"}})
DASHSCOPE_BATCH: Refusal = (
    400,
    {"error": {"message": "Value error, batch size is invalid, it should not be larger than 10.: input.contents"}},
)
TEI_BATCH: Refusal = (422, {"error": "batch size 16 > maximum allowed batch size 4", "error_type": "Validation"})
MISTRAL_BATCH: Refusal = (400, {"object": "error", "message": "Too many tokens in batch. Max is 16384 got 30000"})


def endpoint(
    *,
    dimensions: int = 384,
    max_characters: int = 10**9,
    too_long: Refusal = OPENAI_TOO_LONG,
    max_batch: int = 10**9,
    too_many: Refusal = DASHSCOPE_BATCH,
    refuses: dict[str, str] | None = None,
    shortens: bool = False,
    arrange: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list,
) -> Behaviour:
    """Embed texts, within limits.

    Args:
        refuses: Parameters that are refused, with the words.
        shortens: Whether the parameter `dimensions` is taken.
        arrange: Applied to the items of the answer.
    """

    async def behaviour(connection: Connection) -> None:
        body = connection.seen.body
        status, answer = 200, {}
        for name, words in (refuses or {}).items():
            if name in body:
                status, answer = 400, {"object": "error", "message": words, "type": "BadRequestError", "code": 400}
        if len(body["input"]) > max_batch:
            status, answer = too_many
        elif max(map(len, body["input"])) > max_characters:
            status, answer = too_long
        if status == 200:
            length = body["dimensions"] if shortens and "dimensions" in body else dimensions
            items = [
                {"object": "embedding", "index": place, "embedding": embedding_of(text, length)}
                for place, text in enumerate(body["input"])
            ]
            answer = {"object": "list", "data": arrange(items), "model": body["model"]}
        await connection.respond(status, json.dumps(answer).encode(), "application/json")

    return behaviour
