"""The authorization handlers of a project on the paths of wires, and the form of errors there."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from project4_agent_api.wires.openai.errors import error_response
from shared.errors import InvalidRequest, Limit, ServiceError, StorageQuotaExceeded, TooManyRequests
from shared.problems import problem_for
from tests.project4_agent_api.conftest import Serve
from tests.support.agent_runs import GRAPHS

AUTH = """
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization):
    name, _, org = authorization.removeprefix("Bearer ").partition("@")
    return {"identity": name, "org": org}


@auth.on.threads
async def of_org(ctx, value):
    value.setdefault("metadata", {})["org"] = ctx.user["org"]
    return {"org": ctx.user["org"]}


@auth.on.threads.create_run
async def no_runs(ctx, value):
    return ctx.user.identity != "eve"
"""


@pytest.fixture
async def http(serve4: Serve, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service whose project authorizes by organization. No worker is there."""
    (tmp_path / "handlers.py").write_text(AUTH)
    shutil.copy(GRAPHS.parent / "talk.py", tmp_path)
    project = {"graphs": {"talk": "./talk.py:graph"}, "auth": {"path": "./handlers.py:auth"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(project))
    with serve4(langgraph_config=str(tmp_path / "langgraph.json")) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
            yield http


async def test_handlers_of_a_project_decide_on_every_wire(http: httpx2.AsyncClient) -> None:
    async def send(user: str, method: str, path: str, body: Any = None) -> httpx2.Response:  # noqa: ANN401  any JSON
        return await http.request(method, path, json=body, headers={"Authorization": f"Bearer {user}"})

    conversation = (await send("ada@one", "POST", "/v1/conversations", {})).json()
    path = f"/v1/conversations/{conversation['id']}"
    assert conversation["metadata"] == {"org": "one"}
    assert (await send("bob@one", "GET", path)).status_code == 200
    assert (await send("carl@two", "GET", path)).status_code == 404
    hello = [{"role": "user", "content": "Hi", "id": "1"}]
    completion = {"model": "agent", "messages": [{"role": "user", "content": "Hi"}]}
    refused = await send("eve@one", "POST", "/v1/chat/completions", completion)
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    refused = await send("eve@one", "POST", "/ag-ui/agent", {"threadId": "t", "runId": "r", "messages": hello})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:problem:forbidden")


@pytest.mark.parametrize(
    ("error", "status", "code", "header"),
    [
        (TooManyRequests("Slower.", retry_after=7), 429, "rate_limit_exceeded", ("retry-after", "7")),
        (StorageQuotaExceeded(Limit("user_storage_mb", 1, 2)), 429, "insufficient_quota", ("x-should-retry", "false")),
        (InvalidRequest("Wrong."), 400, "invalid_value", ("content-type", "application/json")),
    ],
)
def test_errors_have_openais_statuses_and_headers(
    error: ServiceError,
    status: int,
    code: str,
    header: tuple[str, str],
) -> None:
    response = error_response(problem_for(error), error.headers or {})
    assert (response.status_code, orjson.loads(response.body)["error"]["code"]) == (status, code)
    assert response.headers[header[0]] == header[1]
