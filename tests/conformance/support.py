"""Helpers of the conformance tests: reading streams, waiting for a run to get somewhere, expecting to be refused."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError
from langgraph_sdk.schema import Assistant, StreamPart, Thread

REFERENCE = os.environ.get("CONFORMANCE_URL")
SECONDS = 90  # until something is taken for hung

Answer = TypeVar("Answer")
Item = TypeVar("Item")


async def collect(stream: AsyncIterator[Item]) -> list[Item]:
    """Read a stream to its end, which has to come."""
    async with asyncio.timeout(SECONDS):
        return [item async for item in stream]


async def take(stream: AsyncIterator[Item], holds: Callable[[Item], bool]) -> list[Item]:
    """Read a stream as far as the first item of which something holds, that one included."""
    taken: list[Item] = []
    async with asyncio.timeout(SECONDS):
        async for item in stream:
            taken.append(item)
            if holds(item):
                return taken
    raise AssertionError(f"the stream ended without the expected event: {taken}")


def data(parts: list[StreamPart], event: str) -> list[Any]:
    """Return what the events of one name carried."""
    return [part.data for part in parts if part.event == event]


async def eventually(
    ask: Callable[[], Awaitable[Answer]], holds: Callable[[Answer], bool], seconds: float = SECONDS
) -> Answer:
    """Ask until the answer is as it is to be; return it."""
    async with asyncio.timeout(seconds):
        while not holds(answer := await ask()):  # noqa: ASYNC110  the condition lies in another process
            await asyncio.sleep(0.05)
    return answer


@contextmanager
def refused(status: int, *, reference: int | None = None) -> Iterator[None]:
    """Expect a request to be answered with a status: the client reports it in one of two ways.

    Args:
        status: This project's service's answer.
        reference: The reference's, where that is another.
    """
    if REFERENCE and reference:
        status = reference
    with pytest.raises((APIStatusError, httpx.HTTPStatusError)) as caught:
        yield
    assert caught.value.response.status_code == status


async def asleep(client: LangGraphClient, thread_id: str, seconds: float = 60, **options: Any) -> str:
    """Start a run of `slow`, wait until its first step has ended and its second sleeps; return the run's id."""
    run = await client.runs.create(thread_id, "slow", input={"seconds": seconds}, **options)
    await eventually(lambda: client.threads.get_state(thread_id), lambda state: state["next"] == ["sleep"])
    return run["run_id"]


async def built_in(client: LangGraphClient, graph_id: str) -> Assistant:
    """Return the assistant that the server made for a graph."""
    (assistant,) = await client.assistants.search(graph_id=graph_id, metadata={"created_by": "system"})
    return assistant


def plain(answer: object) -> dict[str, Any]:
    """Return an answer as the dictionary that it is, which its declared type does not always say."""
    assert isinstance(answer, dict)
    return answer


async def copy_of(client: LangGraphClient, thread_id: str) -> Thread:
    """Copy a thread."""
    copied: Thread = await client.threads.copy(thread_id)  # type: ignore[func-returns-value, assignment]  # it does
    return copied


def said(state: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the messages of a state as pairs of type and content."""
    return [(message["type"], message["content"]) for message in state["messages"]]


def says(content: str) -> dict[str, Any]:
    """Return the input in which a person says something."""
    return {"messages": [{"role": "user", "content": content}]}
