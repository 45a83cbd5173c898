import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise):
    return TestClient(exercise.create_app())


def test_note_is_stored_and_read(client):
    created = client.post("/notes", json={"text": "buy milk"})
    assert (created.status_code, created.json()) == (201, {"text": "buy milk", "id": 1})
    assert client.post("/notes", json={"text": "sleep"}).json()["id"] == 2
    assert client.get("/notes/1").json() == {"text": "buy milk", "id": 1}


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "x" * 201}, {"text": "a", "colour": "red"}])
def test_invalid_note_is_refused(client, body):
    assert client.post("/notes", json=body).status_code == 422


def test_missing_note_has_one_error_shape(client):
    for answer in (client.get("/notes/7"), client.delete("/notes/7"), client.get("/notes/7/words")):
        assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


def test_deleted_note_is_gone(client):
    client.post("/notes", json={"text": "a"})
    answer = client.delete("/notes/1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get("/notes/1").status_code == 404


def test_log_is_written_in_the_background(client):
    client.post("/notes", json={"text": "a"})
    assert client.app.state.notes.log == ["created 1"]


def test_words_are_events(client):
    client.post("/notes", json={"text": "buy two bottles"})
    answer = client.get("/notes/1/words")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[:3] == ["data: buy", "data: two", "data: bottles"]
    assert events[3].startswith("event: done")


def test_notes_are_a_dependency(exercise):
    other = exercise.Notes()
    other.notes[5] = exercise.Note(id=5, text="other")
    app = exercise.create_app()
    app.state.notes = other
    assert TestClient(app).get("/notes/5").status_code == 200, (
        "take the notes from the request's application / 从请求所属的应用取得笔记"
    )


def test_applications_share_nothing(exercise):
    first, second = TestClient(exercise.create_app()), TestClient(exercise.create_app())
    first.post("/notes", json={"text": "a"})
    assert second.get("/notes/1").status_code == 404
