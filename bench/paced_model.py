"""An OpenAI-compatible model server with a fixed pace and almost no cost: `python -m bench.paced_model`.

The question is the script: `50 tokens, 20 ms apart`. The first token is sent at once; without a gap, so are all others.
The text of each streamed token is the time at which it was sent, in nanoseconds of `CLOCK_MONOTONIC`, which all
processes on Linux share; so the receiver of a token can compute its latency.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from starlette.types import Receive, Scope, Send

from bench.servers import read_body, send_json, serve_handed_socket

MODEL = "paced"

_SCRIPT = re.compile(r"(\d+) tokens(?:, (\d+) ms apart)?")
_HEAD: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
_STAMP = "12345678901234567890"  # placeholder for a token's time
_STAMPED = re.compile(rb'": ?"(\d{6,}) "')


@dataclass(frozen=True)
class Script:
    """A number of tokens, and the milliseconds between them."""

    tokens: int
    gap_ms: int = 0

    def __str__(self) -> str:
        """Return the question that requests this script."""
        return f"{self.tokens} tokens" + (f", {self.gap_ms} ms apart" if self.gap_ms else "")

    @classmethod
    def of_question(cls, question: str) -> "Script":
        """Parse a question; any other text requests ten tokens at once."""
        match = _SCRIPT.fullmatch(question)
        return cls(int(match[1]), int(match[2] or 0)) if match else cls(10)


def sent_at(event: bytes) -> int | None:
    """Return the time (ns) at which the model sent the token in a server-sent event; None if there is no token."""
    match = _STAMPED.search(event)
    return int(match[1]) if match else None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request: a completion if it has a body, otherwise an empty list of models."""
    if scope["type"] != "http":
        return
    body = await read_body(receive)
    if not body:
        await send_json(send, b'{"object":"list","data":[]}')
        return
    asked = json.loads(body)
    script = Script.of_question(asked["messages"][-1]["content"])
    if asked.get("stream"):
        await _send_stream(send, script, with_usage=bool(asked.get("stream_options")))
    else:
        message = {"role": "assistant", "content": "word " * script.tokens}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        completion = _HEAD | {"object": "chat.completion", "choices": [choice], "usage": _usage(script)}
        await send_json(send, json.dumps(completion).encode())


async def _send_stream(send: Send, script: Script, *, with_usage: bool) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    before, after = _chunk({"content": _STAMP}).split(_STAMP.encode())
    started = perf_counter_ns()
    for number in range(script.tokens):
        due = started + number * script.gap_ms * 1_000_000
        if (wait := due - perf_counter_ns()) > 0:
            await asyncio.sleep(wait / 1e9)
        body = before + b"%d " % perf_counter_ns() + after
        await send({"type": "http.response.body", "body": body, "more_body": True})
    end = _chunk({}, "stop")
    if with_usage:
        end += _event(_HEAD | {"object": "chat.completion.chunk", "choices": [], "usage": _usage(script)})
    await send({"type": "http.response.body", "body": end + b"data: [DONE]\n\n"})


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return _event(_HEAD | {"object": "chat.completion.chunk", "choices": [choice]})


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _usage(script: Script) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": script.tokens, "total_tokens": 10 + script.tokens}


if __name__ == "__main__":
    serve_handed_socket(app)
