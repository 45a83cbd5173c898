"""Something for a webhook to call."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any

from tests.conformance.support import SECONDS


class Receiver:
    """Receives requests posted to its URL."""

    def __init__(self) -> None:
        self._bodies: Queue[dict[str, Any]] = Queue()
        bodies = self._bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  likewise
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    async def received(self) -> dict[str, Any]:
        """Wait for the next body."""
        try:
            return await asyncio.to_thread(self._bodies.get, timeout=SECONDS)
        except Empty:
            raise AssertionError("nothing was posted") from None

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
