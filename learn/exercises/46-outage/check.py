import asyncio

import pytest
from fastapi.testclient import TestClient


class _Server:
    """A database that can be up, down, frozen, or lose its connections."""

    def __init__(self):
        self.state = "up"
        self.connections = 0
        self.statements = []

    async def connect(self):
        if self.state == "down":
            raise ConnectionRefusedError("connection to postgres-7.internal:5432 refused")
        self.connections += 1
        return _Connection(self)


class _Connection:
    def __init__(self, server):
        self.server = server
        self.lost = False

    async def execute(self, statement):
        self.server.statements.append(statement)
        if self.server.state == "frozen":
            await asyncio.sleep(0.3)  # long after the deadline
        if self.server.state == "restarted" and not self.lost:
            self.lost = True
            self.server.state = "up"
        if self.lost:
            raise ConnectionResetError("server closed the connection unexpectedly")
        if self.server.state == "buggy":
            raise LookupError("no such column")
        return ["a note"]


@pytest.fixture
def server():
    return _Server()


@pytest.fixture
def client(exercise, server):
    app = exercise.create_app(exercise.Database(server.connect, seconds=0.05))
    with TestClient(app) as client:
        yield client


def test_notes_are_read_over_one_connection(client, server):
    assert [client.get("/notes").json() for _ in range(2)] == [["a note"]] * 2
    assert server.connections == 1


@pytest.mark.parametrize("state", ["down", "frozen", "restarted"])
def test_failure_is_a_503_that_reveals_nothing(client, server, state):
    server.state = state
    response = client.get("/notes")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "postgres-7" not in response.text


@pytest.mark.parametrize("state", ["down", "frozen", "restarted"])
def test_next_request_after_the_recovery_succeeds(client, server, state):
    client.get("/notes")
    server.state = state
    client.get("/notes")
    server.state = "up"
    assert client.get("/notes").json() == ["a note"], "a connection that failed was used again / 失败的连接又被拿来用了"


def test_write_is_not_repeated(client, server):
    server.state = "restarted"
    assert client.post("/notes", json={"text": "once"}).status_code == 503
    assert len(server.statements) == 1, "it may have been stored the first time / 第一次可能已经写入了"


def test_bug_is_no_outage(client, server):
    server.state = "buggy"
    with pytest.raises(LookupError):
        client.get("/notes")
