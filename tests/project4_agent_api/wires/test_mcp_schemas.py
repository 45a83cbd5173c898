"""The schemas of MCP's tools are read once for each version of an assistant."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from project4_agent_api.assistants import introspection
from project4_agent_api.core.expiring import ExpiringCache
from tests.project4_agent_api.conftest import SignUp


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The graphs that were opened to read their schemas."""
    opened: list[str] = []
    original = introspection.open_graph

    @asynccontextmanager
    async def open_graph(graphs: Any, graph_id: str, *options: Any) -> AsyncIterator[Any]:  # noqa: ANN401  the original's
        opened.append(graph_id)
        async with original(graphs, graph_id, *options) as graph:
            yield graph

    monkeypatch.setattr(introspection, "open_graph", open_graph)
    return opened


async def test_list_of_tools_opens_each_version_of_an_assistant_once(
    client4: httpx2.AsyncClient, sign_up: SignUp, opened: list[str]
) -> None:
    client4.headers |= {**await sign_up(), "Accept": "application/json, text/event-stream"}
    assistant = (await client4.post("/assistants", json={"graph_id": "agent", "name": "mine"})).json()

    async def list_tools() -> list[str]:
        opened.clear()
        answer = await client4.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert "mine" in answer.text
        return opened.copy()

    assert sorted(await list_tools()) == ["agent", "agent", "rag"]
    assert await list_tools() == []
    changed = {"context": {"system_prompt": "Be brief."}}
    (await client4.patch(f"/assistants/{assistant['assistant_id']}", json=changed)).raise_for_status()
    assert await list_tools() == ["agent"]


def test_entries_expire_and_the_oldest_gives_way() -> None:
    cache = ExpiringCache(entries=2, seconds=60)
    for key in ("a", "b", "a", "c"):
        cache.set(key, key)
    assert [cache.get(key) for key in ("a", "b", "c")] == ["a", None, "c"]
    expired = ExpiringCache(entries=2, seconds=0)
    expired.set("a", "a")
    assert expired.get("a") is None
