"""Load the graphs of a project again whenever one of its Python files changes, without a restart of the process.

Runs and streams that are open keep the graphs with which they have started. `RELOAD_GRAPHS` turns it on, for
development.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic

from loguru import logger

from project4_agent_api.agents.services import Services
from project4_agent_api.graphs.project_imports import ProjectImports
from project4_agent_api.graphs.registry import Graphs
from shared.errors import ConfigurationError

_QUIET_MS, _LONGEST_MS = 20, 400  # an editor writes a file in several steps
_RETRY_SECONDS = 0.2
_SKIPPED = ("__pycache__", "node_modules", "site-packages", "venv")
_MAX_FOLDERS = 5000


async def keep_reloading(graphs: Graphs, path: Path, modules: ProjectImports, services: Services) -> None:
    """Reload the graphs after each change of their project, until the task is cancelled.

    A change that cannot be loaded is logged in one line, and leaves the graphs as they are.

    Args:
        path: The `langgraph.json`.
        modules: The modules of its project.
    """
    # A file's bytecode is found by its modification time in seconds: two edits in one second would be one.
    sys.dont_write_bytecode = True
    async for _ in _changes(modules):
        started = monotonic()
        unloaded = modules.unload()
        try:
            graphs.replace(await Graphs.load(path, services))
        except ConfigurationError as error:
            modules.unload()
            sys.modules.update(unloaded)
            logger.error("the changed graphs are not loaded: {}", error)
        else:
            logger.info("loaded the changed graphs in {:.0f} ms", (monotonic() - started) * 1000)


async def _changes(modules: ProjectImports) -> AsyncIterator[None]:
    import watchfiles  # noqa: PLC0415  only for development, so it is not in the service's extra

    stopping = asyncio.Event()
    while True:
        try:
            async for changes in watchfiles.awatch(
                *_folders(modules.roots),
                watch_filter=lambda _, path: path.endswith(".py") or _is_folder(path),
                step=_QUIET_MS,
                debounce=_LONGEST_MS,
                recursive=False,  # not the data and environments of the project
                stop_event=stopping,
            ):
                yield
                if any(_is_folder(path) for _, path in changes):
                    break  # a new folder has to be watched too
        except FileNotFoundError:  # a folder was deleted
            await asyncio.sleep(_RETRY_SECONDS)


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _folders(roots: list[str]) -> Iterator[str]:
    """Yield the folders that may contain the project's modules."""
    seen: set[str] = set()
    for root in roots:
        for folder, names, _ in os.walk(root):
            names[:] = [name for name in names if not name.startswith(".") and name not in _SKIPPED]
            names[:] = [name for name in names if not Path(folder, name, "pyvenv.cfg").exists()]
            if folder not in seen and len(seen) < _MAX_FOLDERS:
                seen.add(folder)
                yield folder
