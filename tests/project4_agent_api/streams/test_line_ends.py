"""Texts with the line ends of Unicode, in every event stream, for clients that read lines."""

import asyncio
import json
import unicodedata
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import httpx2
import pytest
from langgraph_sdk import get_client

from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.documents import ready
from tests.support.scripted_model import ScriptedModel

SECONDS = 120
TEXT = "one\u2028two\u2029three\u0085four"


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service with the graphs of the tests."""
    with (
        databases.migrated("project4_agent_api") as url,
        agent_service(url, _redis_server, _model_server, GRAPHS) as running,
    ):
        yield running


def read_lines(
    client: httpx.Client, method: str, path: str, *, until: str, body: object = None, **headers: str
) -> list[tuple[str, Any]]:
    """Read a stream with `iter_lines` as far as the first event whose name and data contain a text."""
    events: list[tuple[str, Any]] = []
    name = ""
    with client.stream(method, path, json=body, headers=headers) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            assert field in ("", "event", "data", "id"), line
            if field == "event":
                name = value
            if field == "data":
                events.append((name, json.loads(value)))
                if until in f"{name} {value}":
                    return events
    return events


def texts(value: object) -> set[str]:
    """Return the texts with a line end in any part of a value."""
    if isinstance(value, str):
        return {value} if "\u2028" in value else set()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {text for part in parts for text in texts(part)}


def test_streams_of_runs_are_read_by_lines(service: AgentService, model: ScriptedModel) -> None:
    assert model is not None
    with httpx.Client(base_url=service.url, headers=service.sign_up(), timeout=SECONDS, trust_env=False) as client:
        body = {"assistant_id": "talk", "input": said(TEXT), "stream_mode": ["values", "messages-tuple"]}
        streamed = read_lines(client, "POST", "/runs/stream", body=body, until="1: one")
        thread_id = client.post("/threads", json={}).json()["thread_id"]
        client.post(f"/threads/{thread_id}/runs/wait", json=body).raise_for_status()
        (run,) = client.get(f"/threads/{thread_id}/runs").json()
        joined = read_lines(client, "GET", f"/threads/{thread_id}/runs/{run['run_id']}/stream", until="never")
        path = f"/threads/{thread_id}/stream?stream_mode=run_modes"
        followed = read_lines(client, "GET", path, until="run_done", **{"Last-Event-ID": "-"})
        other = str(uuid4())
        command = {"id": 1, "method": "run.start", "params": {"assistant_id": "talk", "input": said(TEXT)}}
        client.post(f"/threads/{other}/commands", json=command).raise_for_status()
        channels = {"channels": ["values", "lifecycle"]}
        protocol = read_lines(client, "POST", f"/threads/{other}/stream/events", body=channels, until="completed")

    for events in (streamed, joined, followed, protocol):
        assert {TEXT, f"1: {TEXT}"} <= texts(events)


async def test_client_of_langgraph_reads_the_same_texts(service: AgentService) -> None:
    async with get_client(url=service.url, api_key=None, headers=service.sign_up()) as client:
        parts = [part async for part in client.runs.stream(None, "talk", input=said(TEXT), stream_mode="values")]

    assert {TEXT, f"1: {TEXT}"} <= texts([part.data for part in parts])


async def test_answers_of_the_earlier_stages_are_read_by_lines(service: AgentService, model: ScriptedModel) -> None:
    headers = service.sign_up()
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=SECONDS, trust_env=False) as http:
        await ready(http, "The library opens\u2028at nine.", "hours.txt")
    model.says(f"The library opens at nine [1]. {TEXT}")
    body = {"question": "When does the library open?"}

    def read() -> list[list[tuple[str, Any]]]:
        with httpx.Client(base_url=service.url, headers=headers, timeout=SECONDS, trust_env=False) as client:
            paths = ("/ask/stream", "/documents/ask/stream")
            return [read_lines(client, "POST", path, body=body, until="done") for path in paths]

    for events in await asyncio.to_thread(read):
        answer = "".join(data["text"] for name, data in events if name == "token")
        assert unicodedata.normalize("NFC", answer).endswith(TEXT)
