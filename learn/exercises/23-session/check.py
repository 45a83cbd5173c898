from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise: ModuleType) -> Iterator[TestClient]:
    exercise.Base.metadata.create_all(exercise.engine)
    with TestClient(exercise.app) as client:
        yield client
    exercise.engine.dispose()


def test_user_is_stored(client: TestClient) -> None:
    response = client.post("/users/Ada")
    assert (response.status_code, response.json()) == (201, {"id": 1, "name": "Ada"})
    assert client.get("/users").json() == ["Ada"]


def test_taken_name_is_a_conflict(client: TestClient) -> None:
    assert [client.post("/users/Ada").status_code for _ in range(2)] == [201, 409]
    assert client.post("/users/Bob").status_code == 201, (
        "the failed transaction was not rolled back / 失败的事务没有回滚"
    )
    assert client.get("/users").json() == ["Ada", "Bob"]


def test_session_is_closed_after_an_error(exercise: ModuleType, client: TestClient) -> None:
    client.get("/users")
    closed = []
    generator = exercise.get_session()
    session = next(generator)
    session.close, close = lambda: (closed.append(True), close()), session.close
    with pytest.raises(RuntimeError):
        generator.throw(RuntimeError("the route failed"))
    assert closed, "the session stays open when the request fails / 请求失败时 Session 没有关闭"


def test_each_request_has_its_own_session(exercise: ModuleType, client: TestClient) -> None:
    client.get("/users")
    with contextmanager(exercise.get_session)() as first, contextmanager(exercise.get_session)() as second:
        assert first is not second
