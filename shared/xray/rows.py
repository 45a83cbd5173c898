"""The rows of X-rays, in memory: bounded by count and by bytes, the oldest request goes first."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

Status = Literal["open", "ok", "error", "lost"]
MIB = 1024 * 1024
MAX_ROWS, MAX_BYTES = 20_000, 16 * MIB
MAX_ROWS_OF_REQUEST, MAX_BYTES_OF_REQUEST = 2_000, 4 * MIB


class Source(BaseModel):
    """A line of source.

    Attributes:
        path: Absolute.
    """

    path: str
    line: int
    function: str


class Row(BaseModel):
    """Something that was done for a request.

    Attributes:
        started: Unix time in seconds.
        process: Name and number of the process.
        link: Joins a job that is stored to the job that a worker runs, `job:ID`.
    """

    span_id: str
    parent_id: str | None
    kind: str
    name: str
    started: float
    duration_ms: float | None = Field(description="Null while it goes on.")
    process: str
    status: Status
    source: Source | None = None
    details: dict[str, str | int | float] = {}
    link: str = ""


class RequestHead(BaseModel):
    """A request, as the list shows it.

    Attributes:
        owner_id: The signed-in user, or None.
        source: Place of the handler in the code.
    """

    request_id: str
    method: str
    path: str
    started: float
    status: int | None = Field(default=None, description="Null before the response starts.")
    owner_id: UUID | None = Field(default=None, exclude=True)
    source: Source | None = Field(default=None, exclude=True)


@dataclass
class _Trace:
    head: RequestHead | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    omitted: int = 0


@dataclass(frozen=True)
class Timeline:
    """The rows of a request, in the order in which they started.

    Attributes:
        omitted: How many rows the request had beyond the maximum.
    """

    head: RequestHead
    rows: list[Row]
    omitted: int


class Buffer:
    """The rows of the last requests.

    A row belongs to the request whose row is its ancestor. A trace id would not do: a client chooses it.
    """

    def __init__(self, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._traces: OrderedDict[str, _Trace] = OrderedDict()  # by the id of the request's row
        self._root_of: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._rows = self._bytes = 0
        self._lock = threading.Lock()  # some functions of a request run in threads

    def add(self, row: Row) -> None:
        """Add a row, or replace it when it has ended. A row whose request is not here any more is dropped."""
        with self._lock:
            root = self._place(row)
            if root is None:
                return
            trace, size = self._traces[root], len(row.model_dump_json())
            known = row.span_id in trace.rows
            full = len(trace.rows) >= MAX_ROWS_OF_REQUEST or trace.bytes + size > MAX_BYTES_OF_REQUEST
            if full and not known:
                trace.omitted += 1
                return
            self._rows += not known
            growth = size - trace.sizes.get(row.span_id, 0)
            self._bytes += growth
            trace.bytes += growth
            trace.rows[row.span_id], trace.sizes[row.span_id] = row, size
            self._root_of[row.span_id] = root
            if row.link:
                self._links.setdefault(row.link, row.span_id)
            while (self._rows > self._max_rows or self._bytes > self._max_bytes) and len(self._traces) > 1:
                self._forget_oldest()

    def _place(self, row: Row) -> str | None:
        if row.kind == "request":
            self._traces.setdefault(row.span_id, _Trace())
            return row.span_id
        parent = row.parent_id
        if parent not in self._root_of and row.link in self._links:
            parent = row.parent_id = self._links[row.link]
        return self._root_of.get(parent or "")

    def _forget_oldest(self) -> None:
        _, trace = self._traces.popitem(last=False)
        self._rows -= len(trace.rows)
        self._bytes -= trace.bytes
        for span_id, row in trace.rows.items():
            del self._root_of[span_id]
            if self._links.get(row.link) == span_id:
                del self._links[row.link]

    def name(self, span_id: str, head: RequestHead) -> None:
        """Say which request a row belongs to."""
        with self._lock:
            if trace := self._traces.get(self._root_of.get(span_id, "")):
                trace.head = head

    def open_requests(self) -> list[str]:
        """Return the ids of the requests' rows, of those for which something goes on."""
        with self._lock:
            return [
                root for root, trace in self._traces.items() if any(row.status == "open" for row in trace.rows.values())
            ]

    def requests(self, visible: Callable[[RequestHead], bool]) -> list[RequestHead]:
        """Return the visible requests, newest first."""
        with self._lock:
            heads = [trace.head for trace in self._traces.values() if trace.head]
        return [head for head in reversed(heads) if visible(head)]

    def timeline(self, request_id: str, visible: Callable[[RequestHead], bool]) -> Timeline | None:
        """Return the newest visible request with this id, which clients choose; None if there is none."""
        with self._lock:
            for trace in reversed(self._traces.values()):
                head = trace.head
                if head and head.request_id == request_id and visible(head):
                    first, *others = trace.rows.values()
                    rows = [first.model_copy(update={"source": head.source}), *others]
                    return Timeline(head, _mark_lost(sorted(rows, key=lambda row: row.started)), trace.omitted)
        return None


def _mark_lost(rows: list[Row]) -> list[Row]:
    """Mark a worker's open rows as lost if another process took its run over."""
    attempts = [row for row in rows if row.kind == "worker"]
    if not attempts:
        return rows
    last, workers = attempts[-1].process, {row.process for row in attempts}
    return [
        row.model_copy(update={"status": "lost"})
        if row.status == "open" and row.process in workers and row.process != last
        else row
        for row in rows
    ]
