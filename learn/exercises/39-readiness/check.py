import asyncio
import time
from types import ModuleType

from fastapi.testclient import TestClient


class _Checks:
    """Checks of dependencies that are fine, unavailable or silent; counts their calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def fine(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)

    async def unavailable(self) -> None:
        self.calls += 1
        raise ConnectionRefusedError("postgres://app:secret@db is unavailable")

    async def silent(self) -> None:
        self.calls += 1
        await asyncio.sleep(30)


def test_ready_if_all_dependencies_are(exercise: ModuleType) -> None:
    checks = _Checks()
    response = TestClient(exercise.create_app({"database": checks.fine, "cache": checks.fine})).get("/ready")
    assert (response.status_code, response.json()) == (200, {"database": "ok", "cache": "ok"})


def test_not_ready_if_one_is_unavailable(exercise: ModuleType) -> None:
    checks = _Checks()
    response = TestClient(exercise.create_app({"database": checks.unavailable, "cache": checks.fine})).get("/ready")
    assert (response.status_code, response.json()) == (503, {"database": "unavailable", "cache": "ok"})
    assert "secret" not in response.text


def test_silent_dependency_is_unavailable(exercise: ModuleType) -> None:
    started = time.monotonic()
    response = TestClient(exercise.create_app({"database": _Checks().silent}, timeout_seconds=0.05)).get("/ready")
    assert (response.status_code, response.json()) == (503, {"database": "unavailable"})
    assert time.monotonic() - started < 5


def test_dependencies_are_probed_concurrently(exercise: ModuleType) -> None:
    barrier = asyncio.Barrier(3)

    async def meet() -> None:
        await barrier.wait()  # returns when three checks wait at the same time

    app = exercise.create_app({"database": meet, "cache": meet, "model": meet}, timeout_seconds=0.5)
    assert TestClient(app).get("/ready").status_code == 200, (
        "one check began only when the other had ended / 两项检查没有并发进行"
    )


def test_health_checks_no_dependency(exercise: ModuleType) -> None:
    checks = _Checks()
    response = TestClient(exercise.create_app({"database": checks.unavailable})).get("/health")
    assert (response.status_code, response.json(), checks.calls) == (200, {"status": "ok"}, 0)


def test_draining_process_is_not_ready_but_alive(exercise: ModuleType) -> None:
    checks = _Checks()
    app = exercise.create_app({"database": checks.fine})
    app.state.draining = True
    client = TestClient(app)
    response = client.get("/ready")
    assert (response.status_code, response.json()) == (503, {"status": "draining"})
    assert client.get("/health").status_code == 200
    assert checks.calls == 0
