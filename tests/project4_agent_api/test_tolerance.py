"""Requests on LangGraph's paths that its own server takes: unknown fields, JSON of other types, other origins."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx2
import pytest
from starlette.datastructures import Headers

from project4_agent_api.core.schemas import Checkpoint
from project4_agent_api.main import USER_INTERFACES
from project4_agent_api.operations.routes import API_VERSION
from project4_agent_api.settings import Settings
from project4_agent_api.threads.schemas import HistoryQuery
from shared.origins import Origins
from tests.conformance.reference import REFERENCE

ID = "01a20df1-5162-75dc-a16b-e37a5e5fc8af"
STUDIO = "https://smith.langchain.com"
BODY = json.dumps({"limit": 1, "colour": "red"})
PLAIN: list[dict[str, str]] = [{}, {"Content-Type": "text/plain"}, {"Content-Type": "Text/Plain;charset=UTF-8"}]


@pytest.mark.parametrize("headers", PLAIN, ids=str)
async def test_plain_text_is_read_as_json(alice_http: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    found = await alice_http.post("/assistants/search", content=BODY.encode(), headers=headers)
    assert (found.status_code, len(found.json())) == (200, 1)


@pytest.mark.parametrize("content", [b"{", b"limit=1"])
async def test_plain_text_that_is_no_json_is_rejected(alice_http: httpx2.AsyncClient, content: bytes) -> None:
    found = await alice_http.post("/assistants/search", content=content)
    assert found.status_code == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 400),
        ({"Origin": "null"}, 400),
        ({"Origin": "https://evil.example", "Content-Type": "application/json"}, 200),  # only after a preflight request
        ({"Origin": "http://localhost:5173"}, 200),
        ({"Origin": "http://localhost.evil.example"}, 400),
    ],
)
async def test_plain_text_of_another_site_is_rejected(
    alice_http: httpx2.AsyncClient, headers: dict[str, str], status: int
) -> None:
    found = await alice_http.post("/assistants/search", content=BODY.encode(), headers=headers)
    assert found.status_code == status


async def test_runnable_config_is_taken_whole(alice_http: httpx2.AsyncClient) -> None:
    config: dict[str, Any] = {
        "tags": ["t"],
        "metadata": {"a": 1},
        "run_name": "named",
        "max_concurrency": 2,
        "recursion_limit": 7,
        "configurable": {"colour": "red", "__pregel_resuming": True, "checkpoint_ns": "a"},
    }
    ignored = {"callbacks": None, "run_id": "7", "colour": "red"}
    made = await alice_http.post("/assistants", json={"graph_id": "coloured", "config": config | ignored})

    assert made.status_code == 200
    assert made.json()["config"] == config | {"configurable": {"colour": "red"}}


@pytest.mark.parametrize(
    "sent",
    [
        {"checkpoint_id": ID, "checkpoint_ns": "", "colour": "red"},
        {"configurable": {"checkpoint_id": ID, "checkpoint_ns": "", "user_id": 7}, "metadata": {}},
        {"checkpoint_id": ID, "checkpoint_ns": "", "checkpoint_map": "", "thread_id": ""},
    ],
)
def test_checkpoint_is_read_from_every_form(sent: dict[str, Any]) -> None:
    body = HistoryQuery.model_validate({"before": sent, "checkpoint": sent})
    for checkpoint in (body.before, body.checkpoint):
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.configurable(UUID(ID)) == {"checkpoint_id": ID, "checkpoint_ns": ""}


async def test_version_is_the_one_of_langgraphs_api(alice_http: httpx2.AsyncClient) -> None:
    info = (await alice_http.get("/info")).json()
    assert f"langgraph-api=={info['version']}" in REFERENCE
    assert info["version"] == API_VERSION
    assert info["flags"]["strict_resume"] is True


@pytest.mark.parametrize(
    ("changes", "admitted"),
    [
        ({}, True),
        ({"app_env": "production", "openai_base_url": "https://api.example.com/v1"}, False),
        ({"cors_origins": "https://a.example"}, False),
    ],
)
def test_user_interfaces_are_admitted_in_development(
    make_settings4: Callable[..., Settings], changes: dict[str, Any], admitted: bool
) -> None:
    origins = Origins.from_settings(make_settings4(**changes), USER_INTERFACES)
    for origin in (STUDIO, "https://agentchat.vercel.app", "https://dev.agentinbox.ai"):
        assert origins.admit(Headers({"Origin": origin, "Host": "localhost"})) is admitted


async def test_page_may_call_a_private_network(alice_http: httpx2.AsyncClient) -> None:
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = await alice_http.options("/assistants/search", headers=asked)
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
