"""Later stages are called when a user is changed or deleted."""

from collections.abc import Callable
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest

from project1_qa_api.settings import Settings as Stage1Settings
from project2_user_mgmt.hooks import UserHooks
from project2_user_mgmt.main import create_app
from project2_user_mgmt.settings import Settings
from shared.errors import RedisUnavailable
from tests.support.running import running
from tests.support.users import create


@pytest.mark.usefixtures("model")
async def test_hooks_surround_a_deletion(make_settings: Callable[..., Stage1Settings], database_url: str) -> None:
    app = create_app(Settings(**make_settings().model_dump(exclude={"port"}), database_url=database_url))
    calls: list[tuple[str, UUID, int]] = []
    failing = True

    def rows() -> int:
        with psycopg.connect(database_url) as connection:
            return len(connection.execute("SELECT id FROM users").fetchall())

    async def on_user_changed(user_id: UUID) -> None:
        calls.append(("changed", user_id, rows()))

    async def on_user_deleted(user_id: UUID) -> None:
        calls.append(("deleted", user_id, rows()))
        if failing:
            raise RedisUnavailable(RedisUnavailable.example_detail)

    with running(app) as url:
        hooks: UserHooks = app.state.user_hooks
        hooks.on_user_changed.append(on_user_changed)
        hooks.on_user_deleted.append(on_user_deleted)
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            user = await create(client)
            path, user_id = f"/users/{user['id']}", UUID(user["id"])
            stale = await client.patch(path, json={"name": "B"}, headers={"If-Match": '"7"'})
            interrupted = await client.delete(path)
            failing = False
            deleted = await client.delete(path)
            malformed = await client.delete("/users/me")
            unknown = uuid4()
            missing = await client.patch(f"/users/{unknown}", json={"name": "B"})

    statuses = [response.status_code for response in (stale, interrupted, deleted, malformed, missing)]
    assert statuses == [412, 503, 204, 422, 404]
    assert calls == [
        ("changed", user_id, 1),
        ("deleted", user_id, 1),
        ("changed", user_id, 1),
        ("deleted", user_id, 1),
        ("changed", user_id, 0),
        ("changed", unknown, 0),
    ]
