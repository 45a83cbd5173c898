"""The form of server-sent events."""

import json

import pytest
from fastapi.sse import format_sse_event
from pydantic import BaseModel

from project4_agent_api.core.serialization import dumps
from project4_agent_api.events.sse import encode, encode_error_event
from shared.errors import NotFound
from shared.streaming import server_event

# Every character at which `str.splitlines` ends a line.
LINE_ENDS = "".join(chr(code) for code in range(0x110000) if len(f"a{chr(code)}b".splitlines()) == 2)
TEXT = f"before{LINE_ENDS}after, \\u2028 and \\\u2028"


class Token(BaseModel):
    """An event."""

    text: str


def data_of(event: str) -> object:
    """Return the data of an event, read by lines of text."""
    (data,) = (line for line in event.splitlines() if line.startswith("data: "))
    return json.loads(data.removeprefix("data: "))


def test_events_are_not_cut_by_readers_of_lines() -> None:
    assert len(LINE_ENDS) == 10

    event = server_event("token", Token(text=TEXT))
    assert data_of(format_sse_event(event=event.event, data_str=event.raw_data).decode()) == {"text": TEXT}
    assert data_of(encode("values", dumps({TEXT: [TEXT]}), "1-1").decode()) == {TEXT: [TEXT]}
    failed = data_of(encode_error_event(NotFound(TEXT), TEXT).decode())
    assert (failed["detail"], failed["request_id"]) == (TEXT, TEXT)  # type: ignore[index]  # JSON


@pytest.mark.parametrize("end", LINE_ENDS)
def test_names_add_no_lines(end: str) -> None:
    event = encode(f"values|node{end}data: 1", b"{}", "1-1").decode()

    assert event == "event: values|node data: 1\r\ndata: {}\r\nid: 1-1\r\n\r\n"
