import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise):
    return TestClient(exercise.app)


def test_book_is_found_by_number(client):
    assert client.get("/books/2").json() == {"id": 2, "title": "Emma"}


def test_number_must_be_whole(client):
    answer = client.get("/books/two")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["path", "book_id"]


def test_books_are_listed(client):
    assert client.get("/books").json() == ["Dune", "Emma", "Ulysses"]
    assert client.get("/books", params={"search": "m"}).json() == ["Emma"]
    assert client.get("/books", params={"limit": 2}).json() == ["Dune", "Emma"]


def test_limit_is_checked(client):
    assert client.get("/books", params={"limit": 0}).status_code == 422
    assert client.get("/books", params={"limit": 11}).status_code == 422


def test_book_is_stored(client):
    answer = client.post("/books", json={"title": "Momo"})
    assert (answer.status_code, answer.json()) == (201, {"id": 4, "title": "Momo"})
    assert client.get("/books/4").json()["title"] == "Momo"


def test_body_is_checked(client):
    assert client.post("/books", json={"name": "Momo"}).status_code == 422


def test_operations_are_documented(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert list(paths["/books"]) == ["get", "post"]
