"""Errors of the startup, as the server reports them."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from shared.errors import ConfigurationError
from shared.serve import _with_short_configuration_errors as wrapped


async def start(error: Exception | None) -> str:
    """Start an app whose lifespan fails, and return the reported message."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if error:
            raise error
        yield

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    with suppress(KeyError):
        await wrapped(Starlette(lifespan=lifespan))({"type": "lifespan", "state": {}}, receive, send)
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    return str(message["message"])


async def test_configuration_error_is_one_line() -> None:
    assert await start(ConfigurationError("AGENT_APPROVAL_TOOLS: no such tool")) == "AGENT_APPROVAL_TOOLS: no such tool"


async def test_other_error_has_its_traceback() -> None:
    message = await start(KeyError("unexpected"))

    assert message.startswith("Traceback")
    assert "KeyError: 'unexpected'" in message


@pytest.mark.parametrize("stage", ["project1_qa_api", "project4_agent_api"])
def test_settings_warn_of_nothing(stage: str) -> None:
    command = [sys.executable, "-W", "error", "-c", f"import {stage}.settings"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""
