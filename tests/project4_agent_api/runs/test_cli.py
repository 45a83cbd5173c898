"""The operators' commands for runs, on real processes: whose they are does not matter, nor which worker has them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.support.agent_runs import GRAPHS
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.processes import run
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    with agent_service(database_url, redis_url, model, GRAPHS) as running:
        yield running


def operate(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit status and output."""
    done = run("project4_agent_api", *arguments, environment={"PATH": os.environ["PATH"], **environment})
    return done.returncode, done.stdout, done.stderr


async def test_runs_of_all_users_are_listed_and_stopped(service: AgentService, tmp_path: Path) -> None:
    def ids(*arguments: str) -> list[str]:
        status, out, err = operate(service.environment, "runs", *arguments)
        assert (status, err) == (0, "")
        return [line.split()[0] for line in out.splitlines()]

    def client() -> LangGraphClient:
        return get_client(url=service.url, api_key=None, headers=service.sign_up())

    async with client() as ada, client() as ben:
        made = []
        for one, name in ((ada, "ada"), (ben, "ben")):
            log = tmp_path / name
            work: dict[str, Any] = {"steps": 2, "seconds": 60, "log": str(log)}
            made.append(await one.runs.create(None, "steps", input=work, on_completion="keep"))
            await until(log.exists)
        kept, taken_back = made
        me = await ada.http.get("/auth/me")

        assert ids() == [taken_back["run_id"], kept["run_id"]]
        assert ids("--limit", "1") == [taken_back["run_id"]]
        assert ids("--owner", me["email"].upper(), "--status", "running") == [kept["run_id"]]
        assert operate(service.environment, "runs", "--status", "timeout")[1] == "there are no such runs\n"

        done = operate(service.environment, "stop-run", taken_back["run_id"], "--rollback")
        assert done == (0, "its worker was notified\n", "")
        assert operate(service.environment, "stop-run", kept["run_id"])[0] == 0
        await ada.runs.join(kept["thread_id"], kept["run_id"])
        assert (await ada.runs.get(kept["thread_id"], kept["run_id"]))["status"] == "interrupted"
        await until(lambda: ids() == [kept["run_id"]], seconds=60)

        done = operate(service.environment, "runs", "--owner", "nobody@example.com")
        assert done == (2, "", "error: There is no account with this e-mail.\n")


def test_usage_errors_are_one_line(databases: Databases, redis_url: str, model: ScriptedModel) -> None:
    environment = {
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": model.base_url,
        "LLM_MODEL": "m",
        "EMBEDDING_MODEL": "e",
        "JWT_SECRET": "a secret of the tests, with more than 32 bytes",
    }
    with databases.empty() as url:
        assert operate(environment | {"DATABASE_URL": url}, "runs") == (
            2,
            "",
            "error: the database is not migrated: `python -m project4_agent_api migrate`\n",
        )
    nowhere = environment | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    away = (2, "", "error: The database cannot be reached. Try again shortly.\n")
    assert operate(nowhere, "stop-run", str(uuid4())) == away
    assert operate(nowhere, "runs", "--limit", "0")[2].endswith("argument --limit: must be from 1 to 10000\n")
    assert operate(nowhere, "stop-run", "one")[0] == 2
