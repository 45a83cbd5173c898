"""Streaming: server-sent events, as a model's answer reaches the browser."""

import json  # noqa: F401  you need it

from fastapi import FastAPI

app = FastAPI()


async def generate(question):
    """Stand for a model: yield the tokens of an answer, and fail at the word "fail"."""
    for word in question.split():
        if word == "fail":
            raise ConnectionError
        yield f"{word} "


async def events(question):
    """Yield the answer as server-sent events."""
    # TODO: Each token becomes `event: token` with the data {"text": …} as JSON. At the end comes `event: done` with {}. If
    #       the model fails, `event: error` with {"title": "Model unavailable"} comes instead of it.
    #       每个 token 发一个 event: token，data 是 JSON {"text": …}；最后发 event: done，data 为 {}；模型出错时改发
    #       event: error，data 为 {"title": "Model unavailable"}。
    yield ""


@app.get("/ask")
async def ask(question: str):
    # TODO: Return the events in a StreamingResponse of the type "text/event-stream".
    #       用 StreamingResponse 返回这些事件，类型为 "text/event-stream"。
    return {}
