"""The launcher: starts a stage, and an embedded service on loopback for every missing address.

All processes end with it: in order on Ctrl-C or SIGTERM, and by the kernel when the launcher is killed.
"""

import asyncio
import importlib
import importlib.util
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import psutil
from dotenv import dotenv_values
from pydantic import create_model
from pydantic_settings import BaseSettings

from local.control import Control
from local.language import say, say_error
from local.processes import Child, ChildFailed
from local.python import ROOT, python, python_path
from local.services import EMBEDDED, ServiceFactory, base_url, python_server, responds
from local.state import AlreadyRunning, StageState
from project4_agent_api.aliases import own_names
from shared.chapters import Chapter
from shared.errors import ConfigurationError
from shared.serve import listen
from shared.settings import Settings, load_settings

_FAILED = {"migrate": "its database could not be migrated"}
# Measured, with all embedded services, after the start.
_MEMORY_MB = {"project1": 420, "project2": 500, "project3": 800, "project4": 1050}
_GENERATED_SECRETS = ("jwt_secret",)  # for development
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOT_RUN, _INTERRUPTED = 2, 130  # exit statuses of a job; the latter as of a command that Ctrl-C ends in a shell


def launch(stage: str, command: Sequence[str] = (), *, chapter: str = "") -> int:
    """Run a stage until a stop signal, or one of its commands.

    A command uses the services of the stage if it is already running, and starts them otherwise.

    Args:
        stage: First part of a package's name, such as `project1`.
        command: A command of the package with its arguments, such as `reindex`; empty to serve.
        chapter: Name of the chapter to serve; empty for the whole stage.

    Returns:
        Exit status: 0 after a stop signal, 1 if a process has failed too often.

    Raises:
        ConfigurationError: if the stage cannot start.
    """
    package = _package_of(stage)
    program = _chapter_of(stage, package, chapter) if chapter else _whole(package)
    state = StageState(stage)
    try:
        return _launch(program, state, _with_xray(configured_environment()), EMBEDDED, _Task(command))
    except AlreadyRunning:
        if not command:
            raise
    environment = configured_environment() | state.published_environment()
    return subprocess.run(python("-m", package, *command), env=python_path(environment), check=False).returncode


def launch_package(
    package: str,
    state: StageState,
    configured: dict[str, str],
    command: Sequence[str] = (),
    *,
    services: Mapping[str, ServiceFactory] = EMBEDDED,
    describe: Callable[["Stage"], str] | None = None,
    beside: Callable[["Stage"], Coroutine[Any, Any, None]] | None = None,
    job: Callable[["Stage"], Coroutine[Any, Any, int]] | None = None,
) -> int:
    """Run a stage's package, or one of its commands, with a service for each address that is not configured.

    Args:
        configured: The environment variables of the stage.
        services: Create the services that may be missing, by setting.
        describe: Returns the lines that are printed once the stage is ready.
        beside: Runs from then on until the stage stops, and restarts processes whose configuration was invalid.
        job: Runs once the stage is ready; then the stage stops.

    Returns:
        Exit status: that of the job, 130 if a stop signal ended it, or 2 if a process has failed too often. Without a
        job 0 after a stop signal, and 1 if a process has failed too often.

    Raises:
        AlreadyRunning: if another launcher uses the state.
        ConfigurationError: if the stage cannot start.
    """
    return _launch(_whole(package), state, configured, services, _Task(command, describe or _describe, beside, job))


def _launch(
    program: "_Program",
    state: StageState,
    configured: dict[str, str],
    services: Mapping[str, ServiceFactory],
    task: "_Task",
) -> int:
    with state.lock():
        stage = _create_stage(program, state, configured, services)
        return asyncio.run(_run(stage, task))


def configured_environment() -> dict[str, str]:
    """Return the variables of the environment and of `.env` that are not empty, and those that have aliases there."""
    environment = {name: value for name, value in (dotenv_values(".env") | dict(os.environ)).items() if value}
    return environment | own_names(environment)


def _with_xray(configured: dict[str, str]) -> dict[str, str]:
    """Return an environment with the page's X-ray, where only this machine can see it."""
    is_local = configured.get("APP_ENV") != "production" and configured.get("HOST", "127.0.0.1") in _LOOPBACK
    has_collector = "OTEL_EXPORTER_OTLP_ENDPOINT" in configured
    is_installed = importlib.util.find_spec("opentelemetry.sdk") is not None
    return {"XRAY_ENABLED": "true"} | configured if is_local and is_installed and not has_collector else configured


def _package_of(stage: str) -> str:
    packages = {path.name.split("_")[0]: path.name for path in sorted(ROOT.glob("project*_*")) if path.is_dir()}
    if stage not in packages:
        raise ConfigurationError(f"there is no stage {stage}; there are: {', '.join(packages)}")
    return packages[stage]


@dataclass(frozen=True)
class _Program:
    """The program that serves a stage, or a chapter of it.

    Attributes:
        module: Run with `python -m`.
        worker: Whether the stage's worker runs beside it.
    """

    package: str
    module: str
    settings: type[Settings]
    worker: bool
    chapter: str = ""


def _whole(package: str) -> _Program:
    settings: type[Settings] = importlib.import_module(f"{package}.settings").Settings
    return _Program(package, package, settings, (ROOT / package / "worker.py").exists())


def _chapter_of(stage: str, package: str, name: str) -> _Program:
    if not (ROOT / package / "chapters").exists():
        raise ConfigurationError(f"{stage} has no chapters; run it without CHAPTER")
    chapters: Mapping[str, Chapter] = importlib.import_module(f"{package}.chapters").CHAPTERS
    if name not in chapters:
        raise ConfigurationError(f"{stage} has no chapter {name}; there are: {', '.join(chapters)}")
    return _Program(package, f"{package}.chapters.{name}", chapters[name].settings, chapters[name].worker, name)


@dataclass(frozen=True)
class Stage:
    """The processes of a stage, in starting order.

    Attributes:
        settings: Settings, as the processes will read them.
        worker: The worker, if the stage has one.
        control: The API of the page's X-ray, if it is enabled.
    """

    program: _Program
    settings: Settings
    services: list[Child]
    app: Child
    worker: Child | None
    control: Control | None

    @property
    def servers(self) -> list[Child]:
        """The processes that run the stage's own code."""
        return [self.app, self.worker] if self.worker else [self.app]

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [*self.services, *self.servers]


def _create_stage(
    program: _Program, state: StageState, configured: dict[str, str], factories: Mapping[str, ServiceFactory]
) -> Stage:
    """Create the processes of a stage without starting them."""
    inherited = configured_environment()
    environment = python_path(configured)
    # The settings are read from this process's environment, in the same way as in the child processes.
    os.environ.update(environment)
    listening = _listen(program.settings)
    services = []
    if configured.get("APP_ENV") != "production":
        services = _create_services(program.settings, state, environment, factories)
        _warn_of_little_memory(state.stage)
    if "OPENAI_API_KEY" in configured and "OPENAI_BASE_URL" not in configured:
        say(f"{state.stage}: OPENAI_API_KEY is ignored without OPENAI_BASE_URL")
    if "EMBEDDED_MODEL" in configured and "OPENAI_BASE_URL" in configured:
        say(f"{state.stage}: EMBEDDED_MODEL is ignored with OPENAI_BASE_URL")
    if "EMBEDDING_MODEL" in configured and environment["EMBEDDING_MODEL"] != configured["EMBEDDING_MODEL"]:
        say(f"{state.stage}: EMBEDDING_MODEL is ignored without OPENAI_BASE_URL or EMBEDDING_BASE_URL")
    state.publish_environment({name: value for name, value in environment.items() if inherited.get(name) != value})
    os.environ.update(environment)
    settings = load_settings(program.settings)
    control = Control() if settings.xray_enabled else None
    if control:
        environment["XRAY_CONTROL"] = str(control.socket)
    app = _create_server(state.stage, [program.module], listening, environment, settings)
    worker = None
    if program.worker:
        name = f"{state.stage}'s worker"
        worker = _create_server(name, [program.package, "worker"], listen("127.0.0.1", 0), environment, settings)
        worker.action = "kill_worker"
    stage = Stage(program, settings, services, app, worker, control)

    def record_children() -> None:
        state.record_children([child.pid for child in stage.children if child.pid])

    for child in stage.children:
        child.on_start = record_children
    return stage


def _listen(settings_class: type[Settings]) -> socket.socket:
    """Listen on `HOST` and `PORT`: a busy port is reported before a database is created or a model is downloaded."""
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in settings_class.model_fields.items()
        if name in {"host", "port"}
    }
    configured = type("Configured", (BaseSettings,), {"model_config": settings_class.model_config})
    address: Any = create_model("Address", __base__=configured, **fields)
    found = load_settings(cast("type[Settings]", address))
    return listen(found.host, found.port)


def _create_services(
    settings_class: type[Settings],
    state: StageState,
    environment: dict[str, str],
    factories: Mapping[str, ServiceFactory],
) -> list[Child]:
    """Create a service for each missing address, and add the addresses to the environment."""
    services = []
    for setting, create_service in factories.items():
        field = settings_class.model_fields.get(setting)
        if field and field.is_required() and setting.upper() not in environment:
            child, variables = create_service(state, environment)
            services.append(child)
            environment |= variables
            say(f"{state.stage}: {setting.upper()} is not set; starting {child.name}")
    for setting in _GENERATED_SECRETS:
        if setting in settings_class.model_fields and setting.upper() not in environment:
            environment[setting.upper()] = state.secret(setting.replace("_", "-"))
    return services


def _warn_of_little_memory(stage: str) -> None:
    free, needed = psutil.virtual_memory().available >> 20, _MEMORY_MB.get(stage, 0)
    if free < needed:
        say(f"{stage}: {free} MB of memory are free, and about {needed} MB are needed; the system may kill a process")


def _create_server(
    name: str, command: list[str], listening: socket.socket, environment: Mapping[str, str], settings: Settings
) -> Child:
    address = base_url(listening)
    return Child(
        name=name,
        command=python_server(*command, listening=listening),
        environment=environment,
        sockets=[listening],
        is_ready=lambda: responds(f"{address}/health"),
        stop_seconds=settings.shutdown_timeout_seconds + 5,
    )


def _describe(stage: Stage) -> str:
    address, model = base_url(stage.app.sockets[0]), stage.settings.openai_base_url
    lines = [f"  page      {address}/", f"  API docs  {address}/docs", f"  model     {model}"]
    if stage.program.chapter:
        lines.insert(0, f"  chapter   {stage.program.chapter}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Task:
    """The purpose for which a stage is started, as in `launch_package`."""

    command: Sequence[str]
    describe: Callable[[Stage], str] = _describe
    beside: Callable[[Stage], Coroutine[Any, Any, None]] | None = None
    job: Callable[[Stage], Coroutine[Any, Any, int]] | None = None


async def _run(stage: Stage, task: _Task) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(_serve_with_control(stage, task))
    stop = asyncio.create_task(stopping.wait())
    status = 0
    try:
        await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            status = serving.result()
        elif task.job:
            status = _INTERRUPTED
    except* ChildFailed as failures:
        for failure in failures.exceptions:
            say_error(failure)
        status = _NOT_RUN if task.job else 1
    finally:
        stop.cancel()
        serving.cancel()
        await asyncio.wait([serving])
        await asyncio.gather(*(child.stop() for child in stage.servers))
        for child in reversed(stage.services):
            await child.stop()
        say(f"{stage.app.name}: stopped")
    return status


async def _serve_with_control(stage: Stage, task: _Task) -> int:
    async with stage.control.serving(stage.children) if stage.control else nullcontext():
        return await _serve(stage, task)


async def _serve(stage: Stage, task: _Task) -> int:
    """Start the services, migrate, start the servers, and keep all processes running. Return the exit status."""
    async with asyncio.TaskGroup() as starting:
        for service in stage.services:
            starting.create_task(service.start())
    package = stage.program.package
    if (ROOT / package / "migrations").exists():
        await _run_command(package, ["migrate"], stage.app)
    if task.command:
        await _run_command(package, task.command, stage.app)
        return 0
    async with asyncio.TaskGroup() as starting:
        for child in stage.servers:
            starting.create_task(child.start())
    return await _keep_running(stage, task)


async def _keep_running(stage: Stage, task: _Task) -> int:
    if task.job is None:
        say(f"{stage.app.name}: ready\n{task.describe(stage)}")
        for service in stage.services:
            say(f"  {service.name} logs to {service.log}")
        say("Ctrl-C stops everything.")
    status = 0
    async with asyncio.TaskGroup() as running:
        keeping = [running.create_task(service.keep_running()) for service in stage.services]
        wait = task.beside is not None
        keeping += [running.create_task(server.keep_running(wait_for_restart=wait)) for server in stage.servers]
        if task.beside:
            keeping.append(running.create_task(task.beside(stage)))
        if task.job:
            status = await task.job(stage)
            for keeper in keeping:
                keeper.cancel()
    return status


async def _run_command(package: str, command: Sequence[str], app: Child) -> None:
    process = await asyncio.create_subprocess_exec(
        *python("-m", package, *command), env=dict(app.environment), start_new_session=True
    )
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if status != 0:
        raise ChildFailed(f"{app.name}: {_FAILED.get(command[0], f'{command[0]} failed')}")
