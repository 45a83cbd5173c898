"""An embedding model server with prepared vectors: `python -m bench.project3_model FILE`.

The file is a JSON object of vectors by text, each as little-endian 32-bit floats in Base64. So the time of a search is
that of the service and the database alone.
"""

import json
import sys
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from bench.servers import read_body, send_json, serve_handed_socket

MODEL = "scripted-embeddings"


def scripted(answers: dict[str, bytes]) -> ASGIApp:
    """Create an app that answers `POST /embeddings` for one text at a time, and all else with an empty list."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        await send_json(send, answers[json.loads(body)["input"][0]] if body else b'{"object":"list","data":[]}')

    return app


def _answer(vector: str) -> bytes:
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": 10, "total_tokens": 10}
    return json.dumps({"object": "list", "model": MODEL, "data": data, "usage": usage}).encode()


if __name__ == "__main__":
    vectors: dict[str, str] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    serve_handed_socket(scripted({text: _answer(vector) for text, vector in vectors.items()}), sys.argv[2:])
