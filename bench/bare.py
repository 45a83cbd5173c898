"""The baseline of stage 1: the same two routes, and nothing else. `python -m bench.bare starlette`.

No middleware, settings, logs or history; the model is called with a plain `httpx2` client, the library that the
`openai` client uses, too. The difference to stage 1 is the cost of its features.
"""

import os
import sys
from typing import Any
from uuid import uuid4

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from bench.servers import serve_handed_socket

HTTP_LIBRARY = "httpx2"
SYSTEM_PROMPT = "You are a helpful assistant. Answer in a few clear sentences, in the language of the question."


class Question(BaseModel):
    """The request body."""

    question: str


class Answer(BaseModel):
    """Stage 1's response, without the time."""

    id: str
    answer: str
    model: str
    usage: dict[str, int]


class Model:
    """A minimal client of the model endpoint."""

    def __init__(self) -> None:
        self._http = httpx2.AsyncClient(base_url=os.environ["OPENAI_BASE_URL"], timeout=60)

    async def ask(self, question: str) -> Answer:
        """Call the model."""
        messages = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": question}]
        body = {"model": os.environ["LLM_MODEL"], "messages": messages}
        response = await self._http.post("/chat/completions", json=body)
        completion: dict[str, Any] = response.raise_for_status().json()
        usage = {
            "input_tokens": completion["usage"]["prompt_tokens"],
            "output_tokens": completion["usage"]["completion_tokens"],
        }
        text = completion["choices"][0]["message"]["content"]
        return Answer(id=str(uuid4()), answer=text, model=completion["model"], usage=usage)


def bare_starlette() -> ASGIApp:
    """Create the two routes with Starlette."""
    model = Model()

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ask(request: Request) -> JSONResponse:
        asked = await request.json()
        return JSONResponse((await model.ask(asked["question"])).model_dump())

    return Starlette(routes=[Route("/health", health), Route("/ask", ask, methods=["POST"])])


def bare_fastapi() -> ASGIApp:
    """Create the two routes with FastAPI."""
    app = FastAPI()
    model = Model()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/ask")
    async def ask(body: Question) -> Answer:
        return await model.ask(body.question)

    return app


if __name__ == "__main__":
    make = {"starlette": bare_starlette, "fastapi": bare_fastapi}[sys.argv[1]]
    serve_handed_socket(make(), sys.argv[2:])
