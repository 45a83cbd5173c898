"""How many statements a request takes: as many for a hundred rows as for one."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import psycopg
import pytest

from tests.support.users import create


@pytest.mark.parametrize("rows", [1, 100])
async def test_statement_count_is_independent_of_rows(
    serve2: Callable[..., AbstractContextManager[str]], database_url: str, statements: list[str], rows: int
) -> None:
    with serve2() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            user = await create(client)
            with psycopg.connect(database_url) as connection:
                connection.execute(
                    "INSERT INTO users SELECT gen_random_uuid(), i || '@example.com', 'A', '$', 1, now(), now()"
                    " FROM generate_series(1, %s) AS i",
                    [rows],
                )
                connection.execute(
                    "INSERT INTO messages SELECT gen_random_uuid(), %s, 'user', 'Hi', now()"
                    " FROM generate_series(1, %s)",
                    [user["id"], rows],
                )
            for path, expected in (
                (f"/users/{user['id']}", 1),
                ("/users?limit=100", 1),
                ("/users?limit=100&q=a", 1),
                (f"/users/{user['id']}/messages?limit=100", 2),  # whether there is such a user, and the messages
            ):
                statements.clear()
                assert (await client.get(path)).status_code == 200
                assert len(statements) == expected, statements
