"""Restart the processes of `agent-api dev` after a change that they cannot load while they run.

Graphs are reloaded by the processes themselves: docs/decisions/0025. A changed `langgraph.json` or `.env` restarts both
processes, and a changed file of `auth` or `http` the API. Their sockets stay open, and interrupted runs continue.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import watchfiles
from dotenv import dotenv_values

from local.launcher import Stage
from local.python import python

_VALIDATION_SECONDS = 60


@dataclass
class Restarter:
    """Watches the files of a project.

    Attributes:
        config: The `langgraph.json`.
        inherited: The environment without `.env`.
        dotenv: The variables of `.env` with which the processes run.
    """

    config: Path
    inherited: Mapping[str, str]
    dotenv: Mapping[str, str | None]

    async def watch(self, stage: Stage) -> None:
        """Restart processes after each change, until the task is cancelled."""
        while True:
            of_api = self._files_of_api()
            files = {self.config, self.config.parent / ".env", *of_api}
            async for changes in watchfiles.awatch(
                *{file.parent for file in files if file.parent.is_dir()},
                watch_filter=lambda _, path: Path(path) in files,  # noqa: B023  the generator ends with the iteration
                step=20,
                debounce=400,
                recursive=False,
            ):
                everything = not {Path(path) for _, path in changes} <= of_api
                if await self._is_valid():
                    await (self._restart_all(stage) if everything else self._restart_api(stage))
                if everything:
                    break  # other files may be named now

    def _files_of_api(self) -> set[Path]:
        try:
            content = json.loads(self.config.read_bytes())
            sources = [(content.get("auth") or {}).get("path"), (content.get("http") or {}).get("app")]
        except (OSError, ValueError, AttributeError):
            return set()
        paths = [source.rpartition(":")[0] for source in sources if isinstance(source, str)]
        return {(self.config.parent / path).resolve() for path in paths if path.endswith(".py")}

    async def _is_valid(self) -> bool:
        """Return whether the changed project can be loaded. If not, the processes keep the loaded version."""
        process = await asyncio.create_subprocess_exec(
            *python("-m", "agent_api", "validate", "--config", str(self.config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_VALIDATION_SECONDS):
                _, error = await process.communicate()
            problem = error.decode(errors="replace").strip().removeprefix("error: ")
        except TimeoutError:
            problem = f"importing it takes more than {_VALIDATION_SECONDS} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            print(f"agent-api: not restarted: {problem}", flush=True)
        return process.returncode == 0

    async def _restart_api(self, stage: Stage) -> None:
        print("agent-api: restarting the API", flush=True)
        await stage.app.restart()

    async def _restart_all(self, stage: Stage) -> None:
        print("agent-api: restarting", flush=True)
        previous, self.dotenv = self.dotenv, dotenv_values(self.config.parent / ".env")
        for child in stage.servers:
            kept = {
                name: value
                for name, value in child.environment.items()
                if name in self.inherited or previous.get(name) != value
            }
            added = {name: value for name, value in self.dotenv.items() if value and name not in self.inherited}
            child.environment = added | kept
        await asyncio.gather(*(child.restart() for child in stage.servers))
