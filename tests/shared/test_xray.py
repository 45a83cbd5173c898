"""The X-ray where it is off, where it is refused, and its memory."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from project1_qa_api.main import create_app
from project1_qa_api.settings import Settings
from shared.errors import ConfigurationError
from shared.xray import rows
from shared.xray.connections import frame_name
from shared.xray.rows import Buffer, RequestHead, Row
from shared.xray.seams import types_of
from tests.support.launched import ROOT, clean_environment


def row(span_id: str, parent_id: str | None = None, **changes: object) -> Row:
    given = {"kind": "sql", "name": "SELECT", "started": 1.0, "process": "api 1", "status": "ok", "duration_ms": 0}
    return Row.model_validate(given | {"span_id": span_id, "parent_id": parent_id} | changes)


def request(buffer: Buffer, name: str) -> None:
    buffer.add(row(name, kind="request"))
    buffer.name(name, RequestHead(request_id=name, method="GET", path="/", started=1.0))


def ids(buffer: Buffer) -> list[str]:
    return [head.request_id for head in buffer.requests(lambda _: True)]


def test_disabled_xray_imports_none_of_its_parts() -> None:
    script = """
import sys
from project3_rag_docs.main import create_app
from project3_rag_docs.settings import Settings
create_app(Settings(openai_base_url="http://m", llm_model="m", embedding_model="e", database_url="postgresql://d"))
print(sorted(name for name in sys.modules if name.startswith("shared.xray.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['shared.xray.access', 'shared.xray.rows']\n"  # which import no part of OpenTelemetry


def test_xray_is_refused_where_other_machines_connect(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match="XRAY_ENABLED needs a HOST on loopback"):
        create_app(make_settings(xray_enabled=True, host="0.0.0.0"))


def test_buffer_forgets_the_oldest_request_first() -> None:
    buffer = Buffer(max_rows=4)
    for name in ("a", "b", "c"):
        request(buffer, name)
        buffer.add(row(f"{name}1", name))
    buffer.add(row("a2", "a1"))  # of a worker that goes on

    assert ids(buffer) == ["c", "b"]


def test_buffer_is_bounded_in_bytes() -> None:
    buffer = Buffer(max_bytes=3_000)
    for name in ("a", "b"):
        request(buffer, name)
        buffer.add(row(f"{name}1", name, details={"statement": "x" * 2_000}))

    assert ids(buffer) == ["b"]


def test_request_keeps_its_first_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ROWS_OF_REQUEST", 2)
    buffer = Buffer()
    request(buffer, "a")
    for number in range(3):
        buffer.add(row(f"a{number}", "a", status="open"))
    buffer.add(row("a0", "a"))

    timeline = buffer.timeline("a", lambda _: True)

    assert timeline
    assert [(each.span_id, each.status) for each in timeline.rows] == [("a", "ok"), ("a0", "ok")]
    assert timeline.omitted == 2


def test_row_joins_no_request_by_a_parent_that_is_unknown() -> None:
    buffer = Buffer()
    request(buffer, "a")
    buffer.add(row("b", "unknown"))

    timeline = buffer.timeline("a", lambda _: True)

    assert timeline
    assert [each.span_id for each in timeline.rows] == ["a"]


def test_parameters_are_shown_as_types() -> None:
    assert (
        types_of({"email": "ada@example.com", "ids": [1, 2], "none": None})
        == "email: str, ids: list[int], none: NoneType"
    )
    assert types_of([b"secret", 1.5]) == "bytes, float"
    assert types_of(None) == ""


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (b'{"method": "run.start", "id": 1}', "run.start"),
        (b"event: values\ndata: 1\n\n", "values"),
        (b'{"a":' * 100_000, "message"),
    ],
    ids=["method", "event", "deep JSON"],
)
def test_frame_is_named_by_its_kind(frame: bytes, name: str) -> None:
    assert frame_name(frame) == name
