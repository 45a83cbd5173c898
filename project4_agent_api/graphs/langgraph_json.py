"""A team's `langgraph.json`: which graphs there are, and the Python that they stand in.

The file is that of LangGraph's command line. Here its `graphs`, `dependencies` (folders are put on Python's path;
packages have to be installed) and `env` count. What tells that command how to build an image says nothing to a server
that runs already, and is left alone; what asks the server for something that it does not do so is refused.
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

_FOR_AN_IMAGE = {
    *("$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools", "pip_config_file"),
    *("pip_installer", "python_version"),
}
_NOT_HERE = {
    "auth": "who may do what is this service's own to decide",
    "checkpointer": "threads are kept in this service's database",
    "encryption": "there is none of single fields here",
    "http": "its routes and headers are this service's own",
    "node_version": "graphs have to be Python",
    "priority": "runs have none here",
    "source": "dependencies have to be installed beside this service",
    "store": "EMBEDDING_MODEL says how the store is searched",
    "ui": "no components of a page are served",
    "ui_config": "no components of a page are served",
    "webhooks": "they are this service's own to restrict",
}
_NOT_PYTHON = (".js", ".ts", ".mjs", ".mts", ".cjs", ".cts", ".jsx", ".tsx")


def _graph_name(name: str) -> str:
    try:
        UUID(name)
    except ValueError:
        return name
    raise ValueError("is an id, and no name")


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
    """What a file names: some object of a module, and what people are told of it."""

    value: object
    description: str | None


def read(path: Path) -> Mapping[str, NamedGraph]:
    """Read a `langgraph.json`, and import what it names.

    Raises:
        ConfigurationError: of one line that names the graph, or the key, and what is wrong with it.
    """
    file = _parsed(path)
    folder = path.resolve().parent
    _set_environment(file.env, folder, path)
    for dependency in [".", *file.dependencies]:
        _provide(dependency, folder, path)
    found = {}
    for name, given in file.graphs.items():
        entry = given if isinstance(given, _Entry) else _Entry(path=given)
        try:
            found[name] = NamedGraph(_imported(entry.path, folder), entry.description)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: graph {name!r}: {error}") from None
    return found


def _parsed(path: Path) -> _File:
    try:
        content: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"LANGGRAPH_CONFIG: {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} has to be a JSON object")
    content = {key: value for key, value in content.items() if value is not None and key not in _FOR_AN_IMAGE}
    for key in content:
        if key in _NOT_HERE:
            raise ConfigurationError(f"{path}: {key!r} is not supported: {_NOT_HERE[key]}")
        if key not in _File.model_fields:
            near = difflib.get_close_matches(key, [*_File.model_fields, *_NOT_HERE, *_FOR_AN_IMAGE], n=1)
            raise ConfigurationError(f"{path}: there is no key {key!r}{f'; is it {near[0]!r}?' if near else ''}")
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def _set_environment(env: Mapping[str, str] | str, folder: Path, path: Path) -> None:
    """Set variables for the team's code. Those that are set already are somebody's decision, and stay."""
    if isinstance(env, str):
        file = folder / env
        if not file.is_file():
            raise ConfigurationError(f"{path}: env: there is no file {env}")
        env = {name: value for name, value in dotenv_values(file).items() if value is not None}
    for name, value in env.items():
        os.environ.setdefault(name, value)


def _provide(dependency: str, folder: Path, path: Path) -> None:
    """Put a folder on Python's path, or make sure that a package is installed."""
    if dependency.startswith("."):
        place = (folder / dependency).resolve()
        if not place.is_dir():
            raise ConfigurationError(f"{path}: dependencies: there is no folder {dependency}")
        if str(place) not in sys.path:
            sys.path.append(str(place))
        return
    try:
        wanted = Requirement(dependency)
    except InvalidRequirement:
        raise ConfigurationError(f"{path}: dependencies: {dependency!r} is neither a ./folder nor a package") from None
    if wanted.marker and not wanted.marker.evaluate():
        return
    try:
        installed = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigurationError(
            f"{path}: dependencies: {wanted.name} is not installed, and this service installs nothing"
        ) from None
    if not wanted.specifier.contains(installed, prereleases=True):
        raise ConfigurationError(f"{path}: dependencies: {dependency} is wanted, and {installed} is installed")


def _imported(source: str, folder: Path) -> object:
    """Return the object that `path.py:variable` or `package.module:variable` names."""
    place, colon, variable = source.rpartition(":")
    if not colon or not place or not variable:
        raise ConfigurationError(f"{source!r} is neither path.py:variable nor package.module:variable")
    if place.endswith(_NOT_PYTHON):
        raise ConfigurationError(f"{place} is JavaScript, and graphs have to be Python")
    is_file = place.endswith(".py") or "/" in place
    if is_file and not (folder / place).is_file():
        raise ConfigurationError(f"there is no file {place}")
    try:
        module = _module_of_file((folder / place).resolve()) if is_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a module may raise anything, and it is not ours
        logger.opt(exception=error).debug("importing {} failed", place)
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise ConfigurationError(f"importing {place} failed: {type(error).__name__}: {line}") from None
    if not hasattr(module, variable):
        there = [name for name, value in vars(module).items() if isinstance(value, Pregel | StateGraph)]
        hint = f"; there is {', '.join(there)}" if there else ""
        raise ConfigurationError(f"{place} has no {variable!r}{hint}")
    return getattr(module, variable)


def _module_of_file(path: Path) -> ModuleType:
    # Two graphs of one file share it; two files of one name do not.
    name = f"langgraph_json_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look themselves up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
