"""Read a team's `langgraph.json`, and import the graphs that it names.

The file format is that of LangGraph's command line. This service reads `graphs`, `dependencies` (folders are added to
Python's path; packages have to be installed) and `env`. Keys for building an image are ignored, since the server runs
already. Keys that ask for features that this service lacks are refused.
"""

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from uuid import UUID

from dotenv import dotenv_values
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from loguru import logger
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ConfigurationError

_IMAGE_KEYS = {
    *("$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools", "pip_config_file"),
    *("pip_installer", "python_version"),
}
_UNSUPPORTED = {
    "auth": "this service authenticates and authorizes users itself",
    "checkpointer": "this service stores threads in its own database",
    "encryption": "this service does not encrypt individual fields",
    "http": "this service defines its own routes and headers",
    "node_version": "graphs have to be Python",
    "priority": "runs have no priority in this service",
    "source": "dependencies have to be installed alongside this service",
    "store": "EMBEDDING_MODEL configures the store's search",
    "ui": "this service serves no UI components",
    "ui_config": "this service serves no UI components",
    "webhooks": "this service restricts webhooks with its own settings",
}
_NOT_PYTHON = (".js", ".ts", ".mjs", ".mts", ".cjs", ".cts", ".jsx", ".tsx")


def _graph_name(name: str) -> str:
    try:
        UUID(name)
    except ValueError:
        return name
    raise ValueError("is an id, not a name")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str
    description: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    graphs: dict[
        Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^/\s]+$"), AfterValidator(_graph_name)],
        str | _Entry,
    ] = Field(min_length=1)
    dependencies: list[str] = []
    env: dict[str, str] | str = {}


@dataclass(frozen=True)
class NamedGraph:
    """An object that a file names as a graph, and its description for users."""

    value: object
    description: str | None


def read(path: Path) -> Mapping[str, NamedGraph]:
    """Read a `langgraph.json`, and import the graphs that it names.

    Raises:
        ConfigurationError: with one line that names the graph or the key and its fault.
    """
    file = _parse(path)
    folder = path.resolve().parent
    _set_environment(file.env, folder, path)
    for dependency in [".", *file.dependencies]:
        _require(dependency, folder, path)
    graphs = {}
    for name, value in file.graphs.items():
        entry = value if isinstance(value, _Entry) else _Entry(path=value)
        try:
            graphs[name] = NamedGraph(_import_object(entry.path, folder), entry.description)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: graph {name!r}: {error}") from None
    return graphs


def _parse(path: Path) -> _File:
    try:
        content: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"LANGGRAPH_CONFIG: {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} has to be a JSON object")
    content = {key: value for key, value in content.items() if value is not None and key not in _IMAGE_KEYS}
    for key in content:
        if key in _UNSUPPORTED:
            raise ConfigurationError(f"{path}: {key!r} is not supported: {_UNSUPPORTED[key]}")
        if key not in _File.model_fields:
            near = difflib.get_close_matches(key, [*_File.model_fields, *_UNSUPPORTED, *_IMAGE_KEYS], n=1)
            raise ConfigurationError(f"{path}: there is no key {key!r}{f'; is it {near[0]!r}?' if near else ''}")
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def _set_environment(env: Mapping[str, str] | str, folder: Path, path: Path) -> None:
    """Set environment variables for the team's code. Variables that are set already take precedence."""
    if isinstance(env, str):
        file = folder / env
        if not file.is_file():
            raise ConfigurationError(f"{path}: env: there is no file {env}")
        env = {name: value for name, value in dotenv_values(file).items() if value is not None}
    for name, value in env.items():
        os.environ.setdefault(name, value)


def _require(dependency: str, folder: Path, path: Path) -> None:
    """Add a folder to Python's path, or check that a package is installed."""
    if dependency.startswith("."):
        directory = (folder / dependency).resolve()
        if not directory.is_dir():
            raise ConfigurationError(f"{path}: dependencies: there is no folder {dependency}")
        if str(directory) not in sys.path:
            sys.path.append(str(directory))
        return
    try:
        requirement = Requirement(dependency)
    except InvalidRequirement:
        raise ConfigurationError(f"{path}: dependencies: {dependency!r} is neither a ./folder nor a package") from None
    if requirement.marker and not requirement.marker.evaluate():
        return
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigurationError(
            f"{path}: dependencies: {requirement.name} is not installed; install it alongside this service"
        ) from None
    if not requirement.specifier.contains(installed, prereleases=True):
        raise ConfigurationError(f"{path}: dependencies: {dependency} is required, and {installed} is installed")


def _import_object(source: str, folder: Path) -> object:
    """Import the object that `path.py:variable` or `package.module:variable` names."""
    location, colon, variable = source.rpartition(":")
    if not colon or not location or not variable:
        raise ConfigurationError(f"{source!r} is neither path.py:variable nor package.module:variable")
    if location.endswith(_NOT_PYTHON):
        raise ConfigurationError(f"{location} is JavaScript, and graphs have to be Python")
    is_file = location.endswith(".py") or "/" in location
    if is_file and not (folder / location).is_file():
        raise ConfigurationError(f"there is no file {location}")
    try:
        module = _module_of_file((folder / location).resolve()) if is_file else importlib.import_module(location)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a team's module may raise anything
        logger.opt(exception=error).debug("importing {} failed", location)
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise ConfigurationError(f"importing {location} failed: {type(error).__name__}: {line}") from None
    if not hasattr(module, variable):
        candidates = [name for name, value in vars(module).items() if isinstance(value, Pregel | StateGraph)]
        hint = f"; there is {', '.join(candidates)}" if candidates else ""
        raise ConfigurationError(f"{location} has no {variable!r}{hint}")
    return getattr(module, variable)


def _module_of_file(path: Path) -> ModuleType:
    # Graphs of one file share a module; files with the same name do not.
    name = f"langgraph_json_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look up their module there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
