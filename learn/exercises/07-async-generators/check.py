import asyncio

import pytest


class Model:
    """Sends tokens, and notes how many were read and whether the stream was closed."""

    def __init__(self, *tokens):
        self.tokens = tokens
        self.read = 0
        self.closed = False

    async def stream(self):
        try:
            for token in self.tokens:
                await asyncio.sleep(0)
                self.read += 1
                if token == "lost":
                    raise ConnectionError
                yield token
        finally:
            self.closed = True


def test_empty_tokens_are_left_out(exercise):
    async def run():
        return [token async for token in exercise.non_empty(Model("a", "", "b").stream())]

    assert asyncio.run(run()) == ["a", "b"]


def test_tokens_are_passed_on_as_they_arrive(exercise):
    async def run():
        model = Model("", "a", "b")
        passed = exercise.non_empty(model.stream())
        return await anext(passed), model.read

    assert asyncio.run(run()) == ("a", 2)


def test_tokens_become_a_text(exercise):
    assert asyncio.run(exercise.collect(Model("Hel", "lo").stream())) == "Hello"


def test_first_sentence_closes_the_stream(exercise):
    async def run():
        model = Model("It ", "works.", " Another", " one.")
        text = await exercise.first_sentence(model.stream())
        return text, model.read, model.closed

    assert asyncio.run(run()) == ("It works.", 2, True)


def test_error_closes_the_stream_and_goes_on(exercise):
    with pytest.raises(ConnectionError):
        asyncio.run(exercise.first_sentence(Model("It", "lost").stream()))
