"""The process dies between a question and its answer: nothing half is stored."""

import asyncio
import signal
from collections.abc import Callable

import httpx2
import psycopg
import pytest

from project1_qa_api.settings import Settings
from tests.support.processes import served
from tests.support.scripted_model import ScriptedModel, says
from tests.support.until import until
from tests.support.users import create


@pytest.mark.slow
async def test_killed_process_stores_question_and_answer_together(
    make_settings: Callable[..., Settings], model: ScriptedModel, database_url: str
) -> None:
    given = {"OPENAI_BASE_URL": make_settings().openai_base_url, "LLM_MODEL": "m", "DATABASE_URL": database_url}
    with served("project2_user_mgmt", given) as (url, process):
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            messages = f"/users/{(await create(client))['id']}/messages"
            assert (await client.post(messages, json={"content": "before"})).status_code == 201
            model.does(says("too late", delay=30))
            asking = [asyncio.create_task(client.post(messages, json={"content": "during"})) for _ in range(5)]
            await until(lambda: len(model.requests) == 6)
            process.send_signal(signal.SIGKILL)
            answers = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(answer, httpx2.HTTPError) for answer in answers)
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT role, content FROM messages ORDER BY id").fetchall()
        waiting = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state <> 'idle'"
        ).fetchone()
    assert stored == [("user", "before"), ("assistant", "Hello!")]
    assert waiting == (0,)
