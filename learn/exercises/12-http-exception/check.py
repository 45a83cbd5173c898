import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise):
    return TestClient(exercise.app, raise_server_exceptions=False)


def test_money_is_withdrawn(client):
    answer = client.post("/accounts/ada/withdrawals", params={"amount": 3})
    assert (answer.status_code, answer.json()) == (200, {"balance": 7})


def test_unknown_account_is_not_found(client):
    answer = client.post("/accounts/tim/withdrawals", params={"amount": 3})
    assert (answer.status_code, answer.json()) == (404, {"detail": "no account tim"})


def test_insufficient_funds_are_a_conflict(client):
    answer = client.post("/accounts/ada/withdrawals", params={"amount": 13})
    assert (answer.status_code, answer.json()) == (409, {"title": "Insufficient funds", "missing": 3})


def test_every_route_has_the_handler(exercise, client):
    async def other():
        raise exercise.InsufficientFunds(1)

    exercise.app.get("/other")(other)
    assert client.get("/other").status_code == 409
