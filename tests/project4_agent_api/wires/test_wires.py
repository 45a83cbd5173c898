"""All wires together: one run on several of them, and two users who see nothing of each other."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest
from langgraph_sdk import get_client
from openai import AsyncOpenAI

from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow
SUM = ("calculator", '{"expression": "6 * 7"}')
HELLO = {"role": "user", "content": "Hi", "id": "1"}


@asynccontextmanager
async def http_of(service: AgentService, headers: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as http:
        yield http


def openai_of(service: AgentService, headers: dict[str, str]) -> AsyncOpenAI:
    token = headers["Authorization"].removeprefix("Bearer ")
    return AsyncOpenAI(base_url=f"{service.url}/v1", api_key=token, max_retries=0)


async def watch(http: httpx2.AsyncClient, thread_id: str, events: asyncio.Queue[dict[str, Any]]) -> None:
    """Put the events of a thread's run into a queue, as AG-UI's client receives them."""
    body = {"threadId": thread_id, "runId": "watcher", "messages": []}
    async with http.stream("POST", "/ag-ui/agent/connect", json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                await events.put(orjson.loads(line.removeprefix("data: ")))


async def next_of(events: asyncio.Queue[dict[str, Any]], kind: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (event := await events.get())["type"] != kind:
            pass
    return event


async def test_run_goes_on_across_wires_and_workers(
    service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    never = threading.Event()
    model.then(calls(SUM), says("It is 42.", last_word_after=never), says("It is 42."))
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with (
        openai_of(service, headers) as client,
        get_client(url=service.url, api_key=None, headers=headers) as sdk,
        http_of(service, headers) as http,
    ):
        asked = await client.responses.create(model="agent", input="Six times seven?", metadata={"topic": "sums"})
        assert asked.output[-1].type == "mcp_approval_request"

        (thread,) = await sdk.threads.search(metadata={"topic": "sums"})
        approval: Any = {"resume": {"decisions": [{"type": "approve"}]}}
        run = await sdk.runs.create(
            thread["thread_id"], "agent", command=approval, stream_mode=["messages-tuple", "values"]
        )
        watching = asyncio.create_task(watch(http, thread["thread_id"], events))
        snapshot = await next_of(events, "MESSAGES_SNAPSHOT")
        assert snapshot["messages"][0]["content"] == "Six times seven?"
        assert (await next_of(events, "TOOL_CALL_RESULT"))["content"] == "42"
        await next_of(events, "TEXT_MESSAGE_CONTENT")

        service.workers.pop().kill()
        service.start_worker()
        assert (await next_of(events, "MESSAGES_SNAPSHOT"))["messages"][-1]["content"] == "It is 42."
        assert (await next_of(events, "RUN_FINISHED"))["outcome"] == {"type": "success"}
        await watching

        response = await client.responses.retrieve(f"resp_{UUID(run['run_id']).hex}")
        assert response.output_text == "It is 42."
    never.set()


async def test_other_users_ids_are_unknown_on_every_route(service: AgentService, headers: dict[str, str]) -> None:
    ada, bob = openai_of(service, headers), openai_of(service, service.sign_up())
    async with ada, bob, http_of(service, {"Authorization": f"Bearer {bob.api_key}"}) as http:
        response = await ada.responses.create(model="talk", input="Ada's secret.", conversation=None)
        conversation = await ada.conversations.create(metadata={"secret": "ada's"})
        assistant = {"graph_id": "talk", "name": "Ada's own", "metadata": {}}
        async with http_of(service, headers) as own:
            assistant_id = (await own.post("/assistants", json=assistant)).raise_for_status().json()["assistant_id"]
        thread_id = str(UUID(conversation.id.removeprefix("conv_")))

        paths = (await http.get("/openapi.json")).json()["paths"]
        routes = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
        on_wires = {route for route in routes if "/v1/" in route or "/ag-ui/" in route}
        ids = {
            "model": assistant_id,
            "response_id": response.id,
            "conversation_id": conversation.id,
            "assistant": assistant_id,
        }
        ask: dict[str, Any] = {"model": "talk", "input": "Hi"}
        chat = {"model": assistant_id, "messages": [{"role": "user", "content": "Hi"}]}
        agui = {"threadId": "a", "runId": "b", "messages": [HELLO]}
        bodies: dict[str, list[Any]] = {
            "GET /v1/models": [],
            "GET /v1/models/{model}": [None],
            "POST /v1/chat/completions": [chat, {**chat, "model": "Ada's own"}],
            "POST /v1/responses": [
                {**ask, "model": assistant_id},
                {**ask, "previous_response_id": response.id},
                {**ask, "conversation": conversation.id},
            ],
            "GET /v1/responses/{response_id}": [None],
            "DELETE /v1/responses/{response_id}": [None],
            "GET /v1/responses/{response_id}/input_items": [None],
            "POST /v1/responses/{response_id}/cancel": [None],
            "POST /v1/conversations": [],
            "GET /v1/conversations/{conversation_id}": [None],
            "POST /v1/conversations/{conversation_id}": [{"metadata": {"mine": "yes"}}],
            "DELETE /v1/conversations/{conversation_id}": [None],
            "GET /v1/conversations/{conversation_id}/items": [None],
            "POST /ag-ui/{assistant}": [agui, {**agui, "threadId": thread_id}],
            "POST /ag-ui/{assistant}/connect": [{**agui, "threadId": thread_id}],
        }
        assert set(bodies) == on_wires
        for route, given in bodies.items():
            method, path = route.split(" ")
            for body in given:
                named = ids | ({"assistant": "talk"} if body and body.get("threadId") == thread_id else {})
                answer = await http.request(method, path.format(**named), json=body)
                assert answer.status_code == 404, (route, body, answer.text)
                assert "secret" not in answer.text
        visible = [model.id async for model in await bob.models.list()]
        assert not {"Ada's own", assistant_id} & set(visible)
        assert (await ada.responses.retrieve(response.id)).output_text == "1: Ada's secret."
        assert (await ada.conversations.retrieve(conversation.id)).metadata == {"secret": "ada's"}
