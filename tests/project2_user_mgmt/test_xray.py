"""The X-ray of a request to stage 2."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2

from tests.support.xray import of_kind, rows_of


async def test_statement_is_shown_with_the_types_of_its_parameters(
    serve2: Callable[..., AbstractContextManager[str]],
) -> None:
    user = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"}
    with serve2(xray_enabled=True) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            response = await client.post("/users", json=user)
            rows = await rows_of(client, response, "sql")

    assert response.status_code == 201
    (checkout,) = of_kind(rows, "pool")
    assert checkout["details"]["pool"] == "orm"
    insert, commit = of_kind(rows, "sql")[-2:]
    assert insert["details"]["statement"].startswith("INSERT INTO users")
    assert "email: str" in insert["details"]["parameters"]
    assert insert["source"]["path"].endswith("project2_user_mgmt/users.py")
    (session,) = [row for row in of_kind(rows, "dependency") if row["name"] == "get_session"]
    assert session["details"]["scope"] == "function"
    assert commit["name"] == "COMMIT"
    assert commit["parent_id"] == session["span_id"]
    assert not [secret for secret in user.values() if secret in str(rows)]
