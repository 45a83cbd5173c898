"""Streaming: server-sent events, as a model's answer reaches the browser."""

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


async def generate(question: str) -> AsyncIterator[str]:
    """Stand for a model: yield the tokens of an answer, and fail at the word "fail"."""
    for word in question.split():
        if word == "fail":
            raise ConnectionError
        yield f"{word} "


def event(name: str, data: dict[str, str]) -> str:
    """Return one event: its lines, and the blank line that ends it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def events(question: str) -> AsyncIterator[str]:
    """Yield the answer as server-sent events."""
    try:
        async for token in generate(question):
            yield event("token", {"text": token})
    except ConnectionError:
        yield event("error", {"title": "Model unavailable"})
    else:
        yield event("done", {})


@app.get("/ask")
async def ask(question: str) -> StreamingResponse:
    return StreamingResponse(events(question), media_type="text/event-stream")
