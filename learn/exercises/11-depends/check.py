from fastapi.testclient import TestClient

HEADERS = {"X-Token": "secret"}


def test_user_is_found(exercise):
    answer = TestClient(exercise.app).get("/me", headers=HEADERS)
    assert answer.json() == {"user": "ada", "connected": True}


def test_one_connection_for_a_request(exercise):
    TestClient(exercise.app).get("/me", headers=HEADERS)
    assert exercise.EVENTS == ["open", "close"]


def test_connection_is_closed_after_an_error(exercise):
    exercise.Connection.user_of = lambda _self, _token: 1 / 0
    answer = TestClient(exercise.app, raise_server_exceptions=False).get("/me", headers=HEADERS)
    assert answer.status_code == 500
    assert exercise.EVENTS == ["open", "close"]


def test_header_is_required(exercise):
    assert TestClient(exercise.app).get("/me").status_code == 422


def test_dependency_is_replaced_in_a_test(exercise):
    exercise.app.dependency_overrides[exercise.get_user] = lambda: "tester"
    assert TestClient(exercise.app).get("/me").json()["user"] == "tester"
