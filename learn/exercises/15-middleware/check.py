import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise):
    return TestClient(exercise.app)


def test_identifier_is_returned(client):
    assert client.get("/health", headers={"X-Request-ID": "r1"}).headers.get("x-request-id") == "r1"


def test_missing_identifier_is_new(client):
    assert client.get("/health").headers.get("x-request-id") == "new"


def test_lines_have_the_identifier_of_their_request(exercise, client):
    client.get("/health", headers={"X-Request-ID": "r1"})
    client.get("/health", headers={"X-Request-ID": "r2"})
    assert exercise.LINES == ["r1 health", "r2 health"]


def test_unknown_path_has_an_identifier_too(client):
    answer = client.get("/nothing")
    assert (answer.status_code, answer.headers.get("x-request-id")) == (404, "new")


def test_key_is_required_for_one_route_only(exercise, client):
    client.get("/answers", headers={"X-Request-ID": "r1", "X-Api-Key": "k"})
    assert exercise.LINES == ["r1 key k", "r1 answers"]
