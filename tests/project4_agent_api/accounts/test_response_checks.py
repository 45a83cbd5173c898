"""The checks of open responses, in front of an application that streams until it is cancelled."""

import asyncio
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.types import Message, Receive, Scope, Send

from project4_agent_api.accounts import open_responses
from project4_agent_api.accounts.open_responses import OpenResponses
from project4_agent_api.accounts.principals import Principal
from project4_agent_api.models import AccountRole
from shared.errors import DatabaseUnavailable, Unauthorized
from tests.support.until import until

STREAM = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
LAST = {"type": "http.response.body", "body": b""}
Valid = Callable[[set[UUID]], set[UUID]]


def principal(token_rejected_at: float | None = None) -> Principal:
    return Principal(uuid4(), AccountRole.USER, "ada@example.com", "token", uuid4(), token_rejected_at)


class Checked:
    """Open responses whose credentials a function checks.

    Attributes:
        checks: The ids of each statement.
        valid: Returns the valid ones of them.
    """

    def __init__(self) -> None:
        self.checks: list[set[UUID]] = []
        self.valid: Valid = lambda ids: ids
        self.responses = OpenResponses(None)  # type: ignore[arg-type]  # no statement is executed

    async def list_valid(self, _: object, principals: Collection[Principal]) -> set[UUID]:
        self.checks.append({each.credential_id for each in principals if each.credential_id})
        return self.valid(self.checks[-1])


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Checked:
    checked = Checked()
    monkeypatch.setattr(open_responses, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(open_responses, "list_valid", checked.list_valid)
    return checked


async def stream(_: Scope, __: Receive, send: Send) -> None:
    """Stream until cancelled."""
    await send(STREAM)
    await asyncio.Event().wait()


async def receive() -> Message:
    return await asyncio.Event().wait()  # type: ignore[return-value]  # it never returns


async def serve(checked: Checked, app: Any = stream, who: Principal | None = None) -> list[Message]:  # noqa: ANN401  any ASGI application
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(60):
        await checked.responses.serve(app, who or principal(), {"type": "http"}, receive, send)
    return sent


async def test_one_statement_checks_all_responses(checked: Checked) -> None:
    streaming: list[Scope] = []

    async def count(scope: Scope, _: Receive, send: Send) -> None:
        await send(STREAM)
        streaming.append(scope)
        await asyncio.Event().wait()

    serving = [asyncio.create_task(serve(checked, count)) for _ in range(500)]
    await until(lambda: len(streaming) == 500)

    async with checked.responses.checking():
        await until(lambda: len(checked.checks) > 2)
        counts = [len(ids) for ids in checked.checks]  # later ones may miss responses that have ended
        checked.valid = lambda _: set()
        sent = await asyncio.gather(*serving)

    assert counts == [500] * len(counts)
    assert all(b'"status":401' in messages[-1]["body"] for messages in sent)


async def test_nothing_is_queried_without_an_open_response(checked: Checked) -> None:
    async def answer(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await asyncio.sleep(0.1)
        await send(LAST)

    async with checked.responses.checking():
        sent = await serve(checked, answer)
        await asyncio.sleep(0.1)

    assert (len(sent), checked.checks) == (2, [])


@pytest.mark.parametrize("error", [DatabaseUnavailable("The database cannot be reached."), ValueError("a bug")])
async def test_checks_continue_after_a_failure(checked: Checked, error: Exception) -> None:
    def fail_first(_: set[UUID]) -> set[UUID]:
        if len(checked.checks) < 3:
            raise error
        return set()

    checked.valid = fail_first
    async with checked.responses.checking():
        sent = await serve(checked)

    assert (len(checked.checks), len(sent)) == (3, 2)


async def test_token_expires_without_a_check(checked: Checked) -> None:
    sent = await serve(checked, who=principal(time.time() + 0.2))

    assert b"expired" in sent[-1]["body"]
    assert checked.checks == []


async def test_stream_that_starts_late_is_checked_first(checked: Checked) -> None:
    """A stream of an answer starts with the first word of the model, a minute after its request perhaps."""
    checked.valid = lambda _: set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await stream(scope, receive, send)

    with pytest.raises(Unauthorized):
        await serve(checked, app)


async def test_client_that_does_not_read_is_left(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_responses, "_SEND_SECONDS", 0.1)
    checked.valid = lambda _: set()
    blocked = asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await blocked.wait()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(STREAM)
        await send({**LAST, "more_body": True})

    async with checked.responses.checking(), asyncio.timeout(60):
        await checked.responses.serve(app, principal(), {"type": "http"}, receive, send)


async def test_tasks_after_a_response_are_not_cancelled(checked: Checked) -> None:
    checked.valid = lambda _: set()
    done = asyncio.Event()

    async def app(finish: float, _: Scope, __: Receive, send: Send) -> None:
        await send(STREAM)
        await send(LAST)
        await asyncio.sleep(finish)
        done.set()

    async with checked.responses.checking():
        await serve(checked, partial(app, 0.1))

    assert done.is_set()
