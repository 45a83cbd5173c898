"""The launcher: starts a stage, and in place of every address that it is not given, the real thing on loopback.

Everything that it starts ends with it: in order on Ctrl-C or SIGTERM; by the kernel when it is killed.
"""

import asyncio
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from local.processes import Child, ChildFailed
from local.services import EMBEDDED, answers, python_server, url_of
from local.state import RunsAlready, StageState
from shared.errors import ConfigurationError
from shared.serve import listen
from shared.settings import Settings, load_settings

_ROOT = Path(__file__).parents[1]
_FAILED = {"migrate": "its database could not be migrated"}
_KEPT_SECRETS = ("jwt_secret",)  # made once for development
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def launch(stage: str, command: Sequence[str] = ()) -> int:
    """Run a stage until a stop signal; or one of its commands, with the services that it needs.

    Where the stage runs already, a command runs beside it, with the services that are there.

    Args:
        stage: `project1` and so on: the beginning of a package's name.
        command: Such as `reindex`, which `python -m project3_rag_docs reindex` would run, with its arguments; nothing
            to serve.

    Returns:
        An exit status: 0 after a stop signal, 1 when a process could not be kept running.

    Raises:
        ConfigurationError: with one line that says why the stage cannot start.
    """
    package = _package_of(stage)
    settings_class: type[Settings] = importlib.import_module(f"{package}.settings").Settings
    state = StageState(stage)
    try:
        with state.held():
            return asyncio.run(_run(_prepare(package, settings_class, state), command))
    except RunsAlready:
        if not command:
            raise
    environment = _given() | state.published()
    return subprocess.run([sys.executable, "-m", package, *command], env=environment, check=False).returncode


def _given() -> dict[str, str]:
    return {name: value for name, value in (dotenv_values(".env") | dict(os.environ)).items() if value}


def _package_of(stage: str) -> str:
    packages = {path.name.split("_")[0]: path.name for path in sorted(_ROOT.glob("project*_*")) if path.is_dir()}
    if stage not in packages:
        raise ConfigurationError(f"there is no stage {stage}; there are: {', '.join(packages)}")
    return packages[stage]


@dataclass(frozen=True)
class Stage:
    """The processes of a stage, in the order in which they start.

    Attributes:
        package: The stage's.
        settings: As its processes will read them.
        services: Embedded.
        app: Serves its API.
        worker: Does its work that outlives a request, where that has a process of its own.
    """

    package: str
    settings: Settings
    services: list[Child]
    app: Child
    worker: Child | None

    @property
    def served(self) -> list[Child]:
        """What runs the stage's own code."""
        return [self.app, self.worker] if self.worker else [self.app]

    @property
    def children(self) -> list[Child]:
        """All of them."""
        return [*self.services, *self.served]


def _prepare(package: str, settings_class: type[Settings], state: StageState) -> Stage:
    """Make the processes of a stage. Nothing is started yet."""
    given = _given()
    environment = dict(given)
    services = [] if given.get("APP_ENV") == "production" else _embed(settings_class, state, environment)
    if "OPENAI_API_KEY" in given and "OPENAI_BASE_URL" not in given:
        print(f"{state.stage}: OPENAI_API_KEY is not used without OPENAI_BASE_URL", flush=True)
    if "EMBEDDING_MODEL" in given and environment["EMBEDDING_MODEL"] != given["EMBEDDING_MODEL"]:
        print(f"{state.stage}: EMBEDDING_MODEL is not used without OPENAI_BASE_URL or EMBEDDING_BASE_URL", flush=True)
    state.publish({name: value for name, value in environment.items() if given.get(name) != value})
    # What was found out is the environment of this process too, so that settings are read in one way only.
    os.environ.update(environment)
    settings = load_settings(settings_class)
    app = _served(state.stage, [package], listen(settings.host, settings.port), environment, settings)
    worker = None
    if (_ROOT / package / "worker.py").exists():
        name = f"{state.stage}'s worker"
        worker = _served(name, [package, "worker"], listen("127.0.0.1", 0), environment, settings)
    stage = Stage(package, settings, services, app, worker)

    def remember() -> None:
        state.remember([child.pid for child in stage.children if child.pid])

    for child in stage.children:
        child.on_start = remember
    return stage


def _embed(settings_class: type[Settings], state: StageState, environment: dict[str, str]) -> list[Child]:
    """Make what stands in for each address that is not given, and add to the environment how it is found."""
    services = []
    for setting, embed in EMBEDDED.items():
        if setting in settings_class.model_fields and setting.upper() not in environment:
            child, found_by = embed(state, environment)
            services.append(child)
            environment |= found_by
            print(f"{state.stage}: {setting.upper()} is not set, so {child.name} is started", flush=True)
    for setting in _KEPT_SECRETS:
        if setting in settings_class.model_fields and setting.upper() not in environment:
            environment[setting.upper()] = state.secret(setting.replace("_", "-"))
    return services


def _served(
    name: str, command: list[str], listening: socket.socket, environment: Mapping[str, str], settings: Settings
) -> Child:
    address = url_of(listening)
    return Child(
        name=name,
        command=python_server(*command, listening=listening),
        environment=environment,
        sockets=[listening],
        is_ready=lambda: answers(f"{address}/health"),
        stop_seconds=settings.shutdown_timeout_seconds + 5,
    )


async def _run(stage: Stage, command: Sequence[str]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(_serve(stage, command))
    stop = asyncio.create_task(stopping.wait())
    status = 0
    try:
        await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    except* ChildFailed as failures:
        for failure in failures.exceptions:
            print(f"error: {failure}", file=sys.stderr, flush=True)
        status = 1
    finally:
        stop.cancel()
        serving.cancel()
        await asyncio.wait([serving])
        await asyncio.gather(*(child.stop() for child in stage.served))
        for child in reversed(stage.services):
            await child.stop()
        print(f"{stage.app.name}: stopped", flush=True)
    return status


async def _serve(stage: Stage, command: Sequence[str]) -> None:
    """Start the services together, migrate, start the rest, say where things are, and keep them running."""
    async with asyncio.TaskGroup() as starting:
        for service in stage.services:
            starting.create_task(service.start())
    if (_ROOT / stage.package / "migrations").exists():
        await _run_command(stage.package, ["migrate"], stage.app)
    if command:
        await _run_command(stage.package, command, stage.app)
        return
    async with asyncio.TaskGroup() as starting:
        for child in stage.served:
            starting.create_task(child.start())
    address = url_of(stage.app.sockets[0])
    model = stage.settings.openai_base_url
    print(f"{stage.app.name}: ready\n  page      {address}/\n  API docs  {address}/docs\n  model     {model}")
    for service in stage.services:
        print(f"  {service.name}: its log is {service.log}")
    print("Ctrl-C stops everything.", flush=True)
    async with asyncio.TaskGroup() as running:
        for child in stage.children:
            running.create_task(child.keep_running())


async def _run_command(package: str, command: Sequence[str], app: Child) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", package, *command, env=dict(app.environment), start_new_session=True
    )
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if status != 0:
        raise ChildFailed(f"{app.name}: {_FAILED.get(command[0], f'{command[0]} failed')}")
