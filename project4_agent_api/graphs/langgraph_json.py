"""A team's project: its `langgraph.json`, read, with its environment set and its folders on Python's path."""

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from loguru import logger
from packaging.requirements import InvalidRequirement, Requirement

from project4_agent_api.graphs.project_file import ProjectFile, parse
from project4_agent_api.graphs.project_imports import ProjectImports
from shared.errors import ConfigurationError

FILE_NAME = "langgraph.json"


@dataclass(frozen=True)
class NamedGraph:
    """An object that a file names as a graph, and its description for users."""

    value: object
    description: str | None


@dataclass(frozen=True)
class Project:
    """A team's project."""

    path: Path
    file: ProjectFile
    modules: ProjectImports

    def require_storage_here(self) -> None:
        """Check that the file names no other storage for threads and items (decision 30).

        Raises:
            ConfigurationError: with one line that names the key.
        """
        if key := self.file.storage_elsewhere():
            raise ConfigurationError(
                f"{self.path}: {key} is not supported in production: this service stores threads and items in its own "
                "database; remove the key to agree"
            )

    def graphs(self) -> Mapping[str, NamedGraph]:
        """Import the graphs.

        Raises:
            ConfigurationError: with one line that names the graph and its fault.
        """
        graphs = {}
        for name, entry in self.file.graphs.items():
            value = self.import_object(f"graph {name!r}", entry.path, suggest=(Pregel, StateGraph))
            graphs[name] = NamedGraph(value, entry.description)
        return graphs

    def import_object(self, key: str, source: str, *, suggest: tuple[type, ...] = ()) -> Any:  # noqa: ANN401  any object
        """Import the object that a key names.

        Raises:
            ConfigurationError: with one line that names the key and the fault.
        """
        try:
            return self.modules.import_object(source, suggest=suggest)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.path}: {key}: {error}") from None


def find(configured: Path | None) -> Path | None:
    """Return the configured `langgraph.json`, or the one in the working folder, if there is one."""
    if configured is not None:
        return configured
    return Path(FILE_NAME) if Path(FILE_NAME).is_file() else None


def read(path: Path) -> Project:
    """Read a `langgraph.json`, set its environment, and add its folders to Python's path.

    Raises:
        ConfigurationError: with one line that names the key and its fault.
    """
    file = parse(path)
    folder = path.resolve().parent
    _set_environment(file.env, folder, path)
    modules = ProjectImports.for_folder(folder)
    for directory in _folders([".", *file.dependencies], folder, path):
        modules.add_root(directory)
    return Project(path, file, modules)


def _set_environment(env: Mapping[str, str] | str, folder: Path, path: Path) -> None:
    """Set environment variables for the team's code. Variables that are set already take precedence."""
    if isinstance(env, str):
        if env and not (folder / env).is_file():
            hint = f" ({env}.example names them)" if (folder / f"{env}.example").is_file() else ""
            logger.warning("{}: env: no file {}; its variables have to be in the environment{}", path, env, hint)
        values = dotenv_values(folder / env) if env else {}
        env = {name: value for name, value in values.items() if value is not None}
    for name, value in env.items():
        os.environ.setdefault(name, value)


def _folders(dependencies: list[str], folder: Path, path: Path) -> list[Path]:
    """Return the folders among the dependencies, and log which packages are missing."""
    folders: list[Path] = []
    missing: list[str] = []
    for dependency in dependencies:
        directory = folder / dependency
        if directory.is_dir():
            folders.append(directory)
            # The layout of a package that is not installed: its modules are in `src`.
            if (directory / "src").is_dir() and any((directory / name).is_file() for name in _BUILD_FILES):
                folders.append(directory / "src")
        elif dependency.startswith("."):
            raise ConfigurationError(f"{path}: dependencies: there is no folder {dependency}")
        else:
            missing += _missing(dependency, path)
    if missing:
        needed = " ".join(f"'{package}'" for package in missing)
        logger.warning("{}: dependencies: not installed alongside this service: {}", path, needed)
    return folders


_BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


def _missing(dependency: str, path: Path) -> list[str]:
    """Return a dependency unless it is installed in this version."""
    try:
        requirement = Requirement(dependency)
    except InvalidRequirement:
        if "://" in dependency:  # an address, from which pip would install it
            return [dependency]
        raise ConfigurationError(f"{path}: dependencies: {dependency!r} is neither a folder nor a package") from None
    if requirement.marker and not requirement.marker.evaluate():
        return []
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return [dependency]
    return [] if requirement.specifier.contains(installed, prereleases=True) else [f"{dependency} (not {installed})"]
