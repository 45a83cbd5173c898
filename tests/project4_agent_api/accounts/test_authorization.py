"""Bodies that a project's handlers cannot be shown."""

import pytest
from fastapi import Request
from starlette.types import Message

from project4_agent_api.accounts import authorization
from shared.errors import UnreadableBody


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b"\xff"])
async def test_body_that_is_no_json_is_refused(body: bytes) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    with pytest.raises(UnreadableBody):
        await authorization._body(Request({"type": "http", "headers": []}, receive))
