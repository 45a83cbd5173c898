"""The services that can be embedded: for each address a stage may be given, what is started in its place."""

import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2

from shared.dev.processes import Child
from shared.dev.state import StageState
from shared.serve import listen

# Makes a child, and the environment by which the stage finds it.
Embed = Callable[[StageState, Mapping[str, str]], tuple[Child, dict[str, str]]]


def model_server(state: StageState, environment: Mapping[str, str]) -> tuple[Child, dict[str, str]]:
    """Embed the model server of `shared.dev.model_server`."""
    listening = listen("127.0.0.1", 0)
    address = url_of(listening)
    child = Child(
        name="the embedded model server",
        command=python_server("shared.dev.model_server", listening),
        environment=environment,
        sockets=[listening],
        log=state.log_file("model-server"),
        is_ready=lambda: answers(f"{address}/health"),
    )
    gguf = environment.get("LOCAL_LLM_GGUF")
    found_by = {
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": "",
        "LLM_MODEL": Path(gguf).stem if gguf else "smollm2-135m-instruct",
        "LLM_FALLBACK_MODELS": "",
        "EMBEDDING_MODEL": "multilingual-e5-small",
    }
    return child, found_by


# The setting that holds an address, and what stands in for it.
EMBEDDED: dict[str, Embed] = {
    "openai_base_url": model_server,
}


def python_server(module: str, listening: socket.socket) -> list[str]:
    """Return the command that serves a module on an inherited socket."""
    return [sys.executable, "-m", module, "--fd", str(listening.fileno())]


def url_of(listening: socket.socket) -> str:
    """Return the address at which this machine reaches a listening socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared with, not bound to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def answers(url: str) -> bool:
    """Say whether a GET is answered with a success."""
    try:
        async with httpx2.AsyncClient(timeout=2, trust_env=False) as http:
            return (await http.get(url)).is_success
    except httpx2.HTTPError:
        return False
