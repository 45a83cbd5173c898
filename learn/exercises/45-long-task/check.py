import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(exercise):
    return TestClient(exercise.app)


@pytest.fixture
def tasks(client):
    """Two tasks that are stored."""
    return [client.post("/tasks", json={"question": question}).json()["id"] for question in ("one", "two")]


def test_request_only_stores_the_task(client):
    response = client.post("/tasks", json={"question": "What is SQL?"})
    assert (response.status_code, response.json()) == (202, {"id": 1, "status": "pending"})
    assert client.get("/tasks/1").json() == {"id": 1, "status": "pending", "answer": None}


def test_each_task_is_claimed_once_and_the_oldest_first(exercise, tasks):
    assert exercise.claim(now=0) == (tasks[0], 1, "one")
    assert exercise.claim(now=0) == (tasks[1], 1, "two")
    assert exercise.claim(now=14) is None


def test_one_statement_decides_who_gets_the_task(exercise, tasks):
    statements = []
    exercise.db.set_trace_callback(statements.append)
    exercise.claim(now=0)
    assert len(statements) == 1, (
        "between two statements another worker can claim the task / 两条语句之间，别的 worker 可能抢先"
    )


def test_lease_that_is_renewed_keeps_the_task(exercise, tasks):
    claimed = exercise.claim(now=0)
    exercise.claim(now=0)
    assert exercise.renew(claimed, now=10)
    second = exercise.claim(now=16)
    assert second.id == tasks[1]
    assert exercise.claim(now=24) is None


def test_task_of_a_dead_worker_is_claimed_again(exercise, tasks):
    exercise.claim(now=0)
    assert exercise.claim(now=16) == (tasks[0], 2, "one")


def test_finished_task_has_its_answer(exercise, client, tasks):
    assert exercise.finish(exercise.claim(now=0), "an answer")
    assert client.get(f"/tasks/{tasks[0]}").json() == {"id": tasks[0], "status": "done", "answer": "an answer"}
    assert exercise.claim(now=100).id == tasks[1]


def test_worker_that_was_only_frozen_changes_nothing(exercise, client, tasks):
    frozen = exercise.claim(now=0)
    successor = exercise.claim(now=16)
    assert exercise.renew(frozen, now=17) is False
    assert exercise.finish(frozen, "too late") is False
    assert exercise.finish(successor, "in time") is True
    assert client.get(f"/tasks/{tasks[0]}").json()["answer"] == "in time"
