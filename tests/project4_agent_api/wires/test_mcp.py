"""MCP with the official client: assistants as tools, documents as resources, approval, progress and cancellation."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from typing import Any

import anyio
import httpx
import pytest
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph_sdk import get_client
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client

from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, hangs
from tests.support.until import until

pytestmark = pytest.mark.slow


class InTurn(httpx.AsyncHTTPTransport):
    """Sends each request to the next of several processes."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__()
        self._ports = cycle(httpx.URL(url).port for url in urls)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=next(self._ports))
        return await super().handle_async_request(request)


@asynccontextmanager
async def connected(url: str, headers: dict[str, str], *others: str, **options: Any) -> AsyncIterator[ClientSession]:
    """Open a session of the official client with one process of the service, or several in turn."""
    async with (
        httpx.AsyncClient(headers=headers, timeout=120, transport=InTurn([url, *others])) as http,
        streamable_http_client(f"{url}/mcp", http_client=http) as (read, write, _),
        ClientSession(read, write, **options) as session,
    ):
        await session.initialize()
        yield session


async def test_assistants_are_tools_with_schemas(service: AgentService, headers: dict[str, str]) -> None:
    async with connected(service.url, headers) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}

        assert {"agent", "rag", "talk", "form", "search_documents"} <= tools.keys()
        assert tools["talk"].inputSchema["required"] == ["message"]
        assert {"article", "pieces", "thread_id"} <= tools["form"].inputSchema["properties"].keys()


async def test_tool_call_continues_a_thread(service: AgentService, headers: dict[str, str]) -> None:
    async with connected(service.url, headers) as session:
        first = await session.call_tool("talk", {"message": "hello"})
        assert first.structuredContent is not None
        second = await session.call_tool(
            "talk", {"message": "again", "thread_id": first.structuredContent["thread_id"]}
        )

        assert [each.text for each in first.content if each.type == "text"] == ["1: hello"]
        assert second.structuredContent is not None
        assert second.structuredContent["answer"] == "3: again"


async def test_other_graph_takes_its_own_input(service: AgentService, headers: dict[str, str]) -> None:
    async with connected(service.url, headers) as session:
        result = await session.call_tool("form", {"article": "pen", "pieces": 4})

        assert result.structuredContent is not None
        assert result.structuredContent["output"]["total"] == 12


async def test_errors_are_results(service: AgentService, headers: dict[str, str]) -> None:
    async with connected(service.url, headers) as session:
        for name, arguments in [
            ("talk", {"text": "hello"}),
            ("talk", {"message": "hello", "thread_id": "x"}),
            ("talk", {"message": "hello", "thread_id": str(uuid.uuid4())}),
            ("form", {"article": "pen"}),
            ("search_documents", {"query": ""}),
        ]:
            assert (await session.call_tool(name, arguments)).isError, arguments
        with pytest.raises(McpError, match="Unknown tool"):
            await session.call_tool("nothing", {})


@pytest.fixture(scope="module")
def second_api(service: AgentService) -> str:
    """The URL of another API process."""
    return service.start_api()


async def test_approval_by_elicitation(
    service: AgentService, headers: dict[str, str], second_api: str, model: ScriptedModel
) -> None:
    asked: list[str] = []

    async def decide(_: Any, params: Any) -> types.ElicitResult:  # noqa: ANN401  the SDK's
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"decision_1": "reject", "reason_1": "not now"})

    model.then(calls(("calculator", '{"expression": "1+1"}')))
    async with connected(service.url, headers, second_api, elicitation_callback=decide) as session:
        result = await session.call_tool("agent", {"message": "How much is it?"})

    assert "calculator" in asked[0]
    assert result.structuredContent is not None
    assert result.structuredContent["status"] == "success"
    assert "not now" in str(model.requests[-1].body["messages"])


async def test_client_without_elicitation_learns_what_waits(service: AgentService, headers: dict[str, str]) -> None:
    async with connected(service.url, headers) as session:
        waiting = await session.call_tool("ask", {"message": "How many?"})
        assert waiting.structuredContent is not None
        assert waiting.structuredContent["status"] == "interrupted"
        thread_id = waiting.structuredContent["thread_id"]
        async with get_client(url=service.url, api_key=None, headers=headers) as client:
            values: Any = await client.runs.wait(thread_id, "ask", command={"resume": "3"})

        assert values["messages"][-1]["content"] == "You said 3."


async def test_progress_and_cancellation(
    service: AgentService, headers: dict[str, str], second_api: str, model: ScriptedModel
) -> None:
    async with connected(service.url, headers, second_api) as session:
        reports: list[str | None] = []

        async def report(progress: float, total: float | None, message: str | None) -> None:
            assert progress > 0
            assert total is None
            reports.append(message)

        model.then(calls(("search_documents", '{"query": "hours"}')), hangs())
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(McpError):
                    await session.call_tool("agent", {"message": "How much?"}, progress_callback=report)

            tasks.start_soon(call)
            await until(lambda: len(reports) >= 2)
            request_id = session._request_id - 1
            cancelled = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=request_id))
            await session.send_notification(types.ClientNotification(cancelled))
        async with get_client(url=service.url, api_key=None, headers=headers) as client:
            (thread,) = await client.threads.search(limit=1)
            (run,) = await client.runs.list(thread["thread_id"])
            await client.runs.join(thread["thread_id"], run["run_id"])
            run = await client.runs.get(thread["thread_id"], run["run_id"])

        assert reports[0] == "calling search_documents"
        assert run["status"] == "interrupted"


async def test_langchains_adapter_finds_tools_and_documents(
    service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    model.says("Hello, Ada.")
    client = MultiServerMCPClient(
        {"agents": {"transport": "streamable_http", "url": f"{service.url}/mcp", "headers": headers}}
    )
    tools = {tool.name: tool for tool in await client.get_tools()}

    assert "Hello, Ada." in str(await tools["agent"].ainvoke({"message": "Hi, I am Ada."}))
    assert await client.get_resources("agents") == []


async def test_prompts_have_the_text_of_a_document(service: AgentService) -> None:
    headers = service.sign_up()
    with httpx.Client(base_url=service.url, headers=headers, timeout=120) as http:
        for name, text in (("old pears.txt", "Old pears."), ("pears.txt", "Pears are green."), ("x pears.txt", "No.")):
            await until(partial(is_ready, http, upload(http, name, text)))
    async with connected(service.url, headers) as session:
        prompts = (await session.list_prompts()).prompts
        asked = await session.get_prompt("summarize_document", {"document": "pears.txt"})
        named = types.PromptReference(type="ref/prompt", name="summarize_document")
        completed = await session.complete(named, {"name": "document", "value": "old"})

        assert [prompt.name for prompt in prompts] == ["summarize_document", "check_document"]
        request, document_text = [message.content for message in asked.messages]
        assert isinstance(request, types.TextContent)
        assert isinstance(document_text, types.EmbeddedResource)
        assert "Pears are green." in str(document_text.resource)
        assert completed.completion.values == ["old pears.txt"]
        assert (await session.complete(named, {"name": "document", "value": "\0"})).completion.values == []
        for prompt, arguments in (
            ("summarize_document", {"document": "apples"}),
            ("summarize_document", {"document": "pears\0"}),
            ("nothing", {}),
            (prompts[0].name, {}),
        ):
            with pytest.raises(McpError, match=r"Unknown prompt|no document"):
                await session.get_prompt(prompt, arguments)


def upload(http: httpx.Client, name: str, text: str) -> str:
    """Upload a document, and return its id."""
    document: str = http.post("/documents", files={"file": (name, text.encode())}).raise_for_status().json()["id"]
    return document


def is_ready(http: httpx.Client, document: str) -> bool:
    """Return whether a document can be read."""
    status = http.get(f"/documents/{document}").json()["status"]
    assert status != "failed"
    return bool(status == "ready")
