import asyncio
import json

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise):
    return TestClient(exercise.app)


def parse(text):
    """Return the events of a stream, as pairs of name and data."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_answer_is_an_event_stream(client):
    answer = client.get("/ask", params={"question": "Hello"})
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"


def test_tokens_then_done(client):
    answer = client.get("/ask", params={"question": "Hello world"})
    assert parse(answer.text) == [("token", {"text": "Hello "}), ("token", {"text": "world "}), ("done", {})]


def test_failure_is_an_event(client):
    answer = client.get("/ask", params={"question": "Hello fail"})
    assert parse(answer.text) == [("token", {"text": "Hello "}), ("error", {"title": "Model unavailable"})]


def test_line_breaks_stay_inside_the_data(exercise):
    async def generate(_question):
        yield "a\n\nb"

    exercise.generate = generate
    answer = TestClient(exercise.app).get("/ask", params={"question": "x"})
    assert parse(answer.text)[0] == ("token", {"text": "a\n\nb"})


def test_first_token_does_not_wait_for_the_second(exercise):
    async def generate(_question):
        yield "first"
        await asyncio.Event().wait()  # for ever

    exercise.generate = generate

    async def first():
        async with asyncio.timeout(1):
            return await anext(exercise.events("x"))

    assert parse(asyncio.run(first())) == [("token", {"text": "first"})]
