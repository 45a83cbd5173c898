import json

import pytest
from fastapi.testclient import TestClient
from jose import jwt

SECRET = "s" * 32


class World:
    """A clock that stands still until it is moved, and a counter of answers."""

    def __init__(self, exercise, **changes):
        self.now = 1_000_000_040.0  # 40 s before a full minute
        self.calls = []
        self.gate = exercise.Gate(SECRET, lambda: self.now, self.answer, **changes)
        self.client = TestClient(exercise.create_app(self.gate))

    def answer(self, question):
        self.calls.append(question)
        return question.upper()

    def token(self, *, bob=False):
        params = {"user": "bob", "password": "battery staple"} if bob else {"user": "ada", "password": "correct horse"}
        return self.client.post("/token", params=params).json()["token"]

    def ask(self, token, question="why"):
        return self.client.get("/ask", params={"question": question}, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def world(exercise):
    return World(exercise)


def test_token_names_the_user_and_ends(world):
    claims = jwt.decode(world.token(), SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert claims["sub"] == "ada"
    assert claims["exp"] == world.now + 60
    wrong = world.client.post("/token", params={"user": "ada", "password": "guess"})
    assert wrong.status_code == 401


def test_only_valid_tokens_are_answered(world):
    token = world.token()
    assert world.ask(token).json() == {"answer": "WHY"}
    forged = jwt.encode({"sub": "ada", "exp": world.now + 60}, "another secret", algorithm="HS256")
    for wrong in (forged, "", "x.y.z"):
        assert world.ask(wrong).status_code == 401
    world.now += 60
    assert world.ask(token).status_code == 401, "it has expired / 已过期"


def test_limit_is_per_user_and_minute(world):
    ada, bob = world.token(), world.token(bob=True)
    assert [world.ask(ada).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert world.ask(bob).status_code == 200
    refused = world.ask(ada)
    assert refused.headers["retry-after"] == "40"
    world.now += 40
    assert world.ask(ada).status_code == 200


def test_answer_is_cached_for_its_user(world):
    ada, bob = world.token(), world.token(bob=True)
    world.ask(ada), world.ask(ada), world.ask(bob)
    assert world.calls == ["why", "why"], "once for each user / 每个用户各一次"


def test_cached_answer_expires(exercise):
    world = World(exercise, lifetime=30.0)
    world.ask(world.token())
    world.now += 30
    world.ask(world.token())
    assert world.calls == ["why", "why"]


def test_log_is_json_without_secrets(world):
    token = world.token()
    world.ask(token, "my illness"), world.ask(token, "my illness")
    lines = [json.loads(line) for line in world.gate.lines]
    assert lines == [
        {"event": "asked", "user": "ada", "cached": False},
        {"event": "asked", "user": "ada", "cached": True},
    ]
    assert token not in "".join(world.gate.lines)
