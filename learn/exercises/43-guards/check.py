import pytest
from fastapi.testclient import TestClient

ADA, BOB = {"X-Token": "token-of-ada"}, {"X-Token": "token-of-bob"}


@pytest.fixture
def client(exercise):
    return TestClient(exercise.app)


@pytest.mark.parametrize("headers", [{}, {"X-Token": "stolen"}])
def test_unknown_caller_is_refused(client, headers):
    assert client.get("/notes", headers=headers).status_code == 401
    assert client.delete("/notes", headers=headers).status_code == 401


def test_known_caller_reads(client):
    assert client.get("/notes", headers=BOB).json() == {"limit": 20, "offset": 0}


def test_page_is_read_and_checked(client):
    assert client.get("/notes?limit=5&offset=10", headers=BOB).json() == {"limit": 5, "offset": 10}
    assert client.get("/notes?limit=0", headers=BOB).status_code == 422
    assert client.get("/notes?limit=101", headers=BOB).status_code == 422
    assert client.get("/notes?offset=-1", headers=BOB).status_code == 422


def test_only_admins_delete(client):
    assert client.delete("/notes", headers=BOB).status_code == 403
    assert client.delete("/notes", headers=ADA).json() == {"deleted": True}


def test_health_needs_nobody(client):
    assert client.get("/health").status_code == 200


def test_new_route_of_the_router_is_guarded(exercise):
    @exercise.router.get("/later")
    async def later():
        return "open"

    exercise.app.include_router(exercise.router)
    assert TestClient(exercise.app).get("/later").status_code == 401, (
        "put the guard on the router, not on each route / 鉴权要放在路由器上，而不是每个路由上"
    )
