"""A project with embeddings of its own, times to live, and rules for webhooks."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from project4_agent_api.graphs import langgraph_json
from project4_agent_api.runs.webhook_policy import WebhookPolicy
from tests.langgraph_projects.conftest import PROJECTS, ServeProject

PATH = PROJECTS / "store_index" / "langgraph.json"


@pytest.fixture(scope="module")
def url(serve_project: ServeProject) -> Iterator[str]:
    with serve_project("store_index", auth_required=False) as url:
        yield url


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        yield http


async def test_items_are_embedded_by_the_projects_function_and_fields(http: httpx2.AsyncClient) -> None:
    async def run(**state: str) -> Any:  # noqa: ANN401  any JSON
        answer = await http.post("/runs/wait", json={"assistant_id": "memory", "input": state})
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert (await run(note="sun sun"))["found"] == "sun sun"
    await run(note="a cat")
    assert (await run(question="which cat"))["found"] == "a cat"
    found = await http.post("/store/items/search", json={"namespace_prefix": ["memories"], "query": "sun"})
    assert [item["value"]["text"] for item in found.json()["items"]] == ["sun sun", "a cat"]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("https://a.example.com/x", None),
        ("https://a.example.com:8443/x", None),
        ("http://a.example.com:8443/x", "must begin with https://"),
        ("https://a.example.com:99/x", "The port"),
        ("https://example.com/x", "The host"),
        ("https://a.example.com.evil.org/x", "The host"),
        ("https://evil-example.com/x", "The host"),
    ],
)
async def test_webhook_addresses_follow_the_projects_rules(
    http: httpx2.AsyncClient, address: str, problem: str | None
) -> None:
    body = {"assistant_id": "memory", "input": {}, "webhook": address, "after_seconds": 3600}
    cron = {"assistant_id": "memory", "schedule": "0 0 1 1 *", "webhook": address}
    for path, json in (("/runs", body), ("/runs/crons", cron)):
        answer = await http.post(path, json=json)
        assert answer.status_code == (422 if problem else 200), answer.text
        assert (problem or "") in answer.text


def test_webhook_headers_come_from_the_environment() -> None:
    project = langgraph_json.read(PATH)
    assert WebhookPolicy.load(project).headers == ((b"X-Token", b"Bearer of-the-project"),)
