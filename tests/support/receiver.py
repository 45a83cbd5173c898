"""Something for a webhook to call."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

_SECONDS = 30


class Receiver:
    """Receives requests, and answers with each of its statuses in turn, then always with the last one.

    Attributes:
        url: Where to post. It carries a secret.
        statuses: The statuses of the responses.
        heads: The headers of each call.
        contents: The body of each call, as it was sent.
    """

    def __init__(self, statuses: Sequence[int]) -> None:
        self.statuses = list(statuses)
        self.heads: list[dict[str, str]] = []
        self.contents: list[bytes] = []
        self._bodies: Queue[dict[str, Any]] = Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.heads.append(dict(self.headers))
                receiver.contents.append(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.loads(receiver.contents[-1])
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver._bodies.put(body | {"path": self.path})

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as it is declared
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/?token=s3cret"

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.heads)

    async def received(self) -> dict[str, Any]:
        """Wait for the next body."""
        return await asyncio.to_thread(self._bodies.get, timeout=_SECONDS)


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """Take calls while the block runs."""
    receiver = Receiver(statuses or [204])
    thread = threading.Thread(target=receiver.server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
