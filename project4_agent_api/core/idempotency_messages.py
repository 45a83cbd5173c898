"""Request bodies and responses of idempotent requests: fingerprints of the former, recordings of the latter."""

from hashlib import sha256

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

REPLAYED_HEADER = "Idempotency-Replayed"
_STORED_HEADERS = ("content-type", "content-location", "location", "etag", "link")


class FingerprintedBody:
    """The body of a request, hashed while it is received. See `decisions/0012` for why forms are hashed too.

    The boundary of a form differs in each attempt, so it is left out. The hash begins with the key, which is not
    stored: the body may contain a password, which nobody with access to the table may be able to guess.
    """

    def __init__(self, receive: Receive, headers: Headers, query: bytes, key: str) -> None:
        media_type, options = parse_options_header(headers.get("content-type", ""))
        self.boundary = options.get(b"boundary", b"") if media_type == b"multipart/form-data" else b""
        self._receive = receive
        self._hash = sha256(b"\n".join([key.encode(), query, media_type, b""]))
        self._tail = b""
        self._buffered: list[Message] = []
        self._complete = False

    async def read(self) -> str:
        """Read the whole body and return its fingerprint. The body can still be received, unless it is a form."""
        while not self._complete:
            message = await self._next()
            if not self.boundary:
                self._buffered.append(message)
        return self.fingerprint()

    async def receive(self) -> Message:
        """Return the next message. The app calls it instead of the server's `receive`."""
        return self._buffered.pop(0) if self._buffered else await self._next()

    def fingerprint(self) -> str:
        """Return the hash of the received part."""
        complete = self._hash.copy()
        complete.update(self._tail)
        return complete.hexdigest()

    async def _next(self) -> Message:
        message = await self._receive()
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        self._add(message.get("body", b""))
        return message

    def _add(self, data: bytes) -> None:
        if not self.boundary:
            self._hash.update(data)
            return
        *parts, rest = (self._tail + data).split(self.boundary)
        for part in parts:
            self._hash.update(part + b"\n")
        keep = len(self.boundary) - 1  # the boundary may begin in these bytes
        self._hash.update(rest[: max(0, len(rest) - keep)])
        self._tail = rest[max(0, len(rest) - keep) :]


class RecordedResponse:
    """The parts of a response that are stored: everything except the events of a stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._is_stream = False
        self._chunks: list[bytes] = []

    def add(self, message: Message) -> bool:
        """Record a message, and return whether the recording is complete."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message["headers"])
            self.headers = {name: headers[name] for name in _STORED_HEADERS if name in headers}
            self._is_stream = headers.get("content-type", "").startswith("text/event-stream")
            return self._is_stream
        if not self._is_stream:
            self._chunks.append(message.get("body", b""))
        return not message.get("more_body", False)

    def body(self) -> bytes | None:
        """Return the body, or None for a stream."""
        return None if self._is_stream else b"".join(self._chunks)


async def replay(status: int, headers: dict[str, str], body: bytes, send: Send) -> None:
    """Send a stored response, marked as a replay."""
    headers = headers | {REPLAYED_HEADER.lower(): "true", "content-length": str(len(body))}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": bytes(body)})
