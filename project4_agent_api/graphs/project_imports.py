"""Import the modules of a project, which may have any name.

A project's folders come last on Python's path, so its packages hide nothing of this service. The other way round, this
service has top-level packages with ordinary names (`shared`, `local`, …), which must not hide a project's. If both have
one, the project's is imported as `langgraph_project.shared`, and import statements in the project's own code that name
`shared` get that one. See docs/decisions/0023.
"""

import builtins
import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from loguru import logger

from shared.errors import ConfigurationError

_SOURCE = Path(__file__).resolve().parents[2]
# Top-level names of this service and its checkout.
_OURS = frozenset(
    {
        *("agent_api", "bench", "deploy", "docs", "examples", "learn", "local", "shared", "tests"),
        *("project1_qa_api", "project2_user_mgmt", "project3_rag_docs", "project4_agent_api"),
    }
)
_PROJECT_NAMES = frozenset({"examples", "tests"})  # folders of the checkout that contain projects
_NOT_PYTHON = (".js", ".ts", ".mjs", ".mts", ".cjs", ".cts", ".jsx", ".tsx")
_import = builtins.__import__


@dataclass(frozen=True)
class ProjectImports:
    """The modules of one project.

    Attributes:
        folder: The folder of its `langgraph.json`.
        namespace: The package of its modules that cannot have their own names. Stored states name their classes by
            module, so it depends on no path.
        hidden: Names of this service that the project has too.
    """

    folder: Path
    namespace: str
    roots: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)

    @classmethod
    def for_folder(cls, folder: Path) -> "ProjectImports":
        """Return the modules of the project in a folder. A process has one project, but tests have many."""
        folder = folder.resolve()
        if folder not in _projects:
            namespace = "langgraph_project" if not _projects else f"langgraph_project_{len(_projects) + 1}"
            _projects[folder] = cls(folder, namespace)
        return _projects[folder]

    def add_root(self, directory: Path) -> None:
        """Add a folder of the project to Python's path."""
        root = str(directory.resolve())
        if root in self.roots:
            return
        self.roots.append(root)
        package = sys.modules.setdefault(self.namespace, ModuleType(self.namespace))
        package.__path__ = list(self.roots)
        self.hidden.update(name for name in _OURS if _has(directory.resolve(), name))
        if self.hidden:
            builtins.__import__ = _import_for_caller
        if root not in sys.path:
            sys.path.append(root)

    def import_object(self, source: str, *, suggest: tuple[type, ...] = ()) -> Any:  # noqa: ANN401  any object
        """Import the object that `path.py:variable` or `package.module:variable` names.

        Args:
            suggest: Types of the objects to suggest if there is no such variable.

        Raises:
            ConfigurationError: with one line that names the fault.
        """
        location, colon, variable = source.rpartition(":")
        if not colon or not location or not variable:
            raise ConfigurationError(f"{source!r} is neither path.py:variable nor package.module:variable")
        if location.endswith(_NOT_PYTHON):
            raise ConfigurationError(f"{location} is JavaScript, and this service runs Python only")
        is_file = location.endswith(".py") or "/" in location
        path = (self.folder / location).resolve()
        if is_file and not path.is_file():
            raise ConfigurationError(f"there is no file {location}")
        try:
            module = self._module_of_file(path) if is_file else importlib.import_module(self._qualified(location))
        except (Exception, SystemExit) as error:  # noqa: BLE001  a team's module may raise anything
            logger.opt(exception=error).debug("importing {} failed", location)
            raise ConfigurationError(f"importing {location} failed: {_reason(error)}") from None
        if not hasattr(module, variable):
            found = [name for name, value in vars(module).items() if isinstance(value, suggest)]
            hint = f"; there is {', '.join(found)}" if found else ""
            raise ConfigurationError(f"{location} has no {variable!r}{hint}")
        return getattr(module, variable)

    def unload(self) -> dict[str, ModuleType]:
        """Remove the project's modules from Python's loaded modules, with their bytecode, and return them."""
        unloaded = {
            name: module
            for name, module in list(sys.modules.items())
            if name not in ("__main__", self.namespace)
            and getattr(module, "__file__", None)
            and self.contains(vars(module))
            and not _is_ours(module)
        }
        for name, module in unloaded.items():
            del sys.modules[name]
            with contextlib.suppress(OSError, NotImplementedError):
                Path(importlib.util.cache_from_source(str(module.__file__))).unlink()
        importlib.invalidate_caches()
        return unloaded

    def contains(self, importer: Mapping[str, Any]) -> bool:
        """Return whether a module with these globals is the project's."""
        if str(importer.get("__name__", "")).startswith(f"{self.namespace}."):
            return True
        file = str(importer.get("__file__") or "")
        return "site-packages" not in file and any(file.startswith(f"{root}/") for root in self.roots)

    def _qualified(self, module: str) -> str:
        return f"{self.namespace}.{module}" if module.partition(".")[0] in self.hidden else module

    def _module_of_file(self, path: Path) -> ModuleType:
        """Import a file under the name by which the project's other modules import it, so that it is loaded once."""
        root = path.parent
        while (root / "__init__.py").is_file():
            root = root.parent
        if root != path.parent:  # it belongs to a package, whose folder has to be on Python's path
            self.add_root(root)
        elif path.is_relative_to(self.folder):
            root = self.folder
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts)
        broken_package: ModuleNotFoundError | None = None
        if path.suffix == ".py" and all(part.isidentifier() for part in parts):
            for qualified in dict.fromkeys((self._qualified(name), f"{self.namespace}.{name}")):
                try:
                    found = _resolves_to(qualified, path)
                except ModuleNotFoundError as error:
                    broken_package = broken_package or error
                    continue
                if found:
                    return importlib.import_module(qualified)
        # Another module has this name, or the file may do without its package.
        digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:12]
        try:
            return _load(f"{self.namespace}_{digest}_{path.stem}", path)
        except (ImportError, KeyError):  # a KeyError if a module of the package is loaded, and the package is not
            if broken_package:
                raise broken_package from None
            raise


_projects: dict[Path, ProjectImports] = {}


def _has(root: Path, name: str) -> bool:
    """Return whether a folder has a package or module with a name, other than this service's own."""
    found = root / name if (root / name).is_dir() else root / f"{name}.py"
    return found.exists() and found.resolve().parent != _SOURCE


def _is_ours(module: ModuleType) -> bool:
    """Return whether a module is this service's: the folder of a project may contain the checkout."""
    return any(str(module.__file__).startswith(f"{_SOURCE / name}{os.sep}") for name in _OURS - _PROJECT_NAMES)


def _import_for_caller(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002  the name of `__import__`'s parameter
    locals: Mapping[str, Any] | None = None,  # noqa: A002  likewise
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Replace `__import__`: an import statement in a project's code is given the project's package."""
    top = name.partition(".")[0]
    if not level and top in _OURS and globals is not None:
        for project in _projects.values():
            if top in project.hidden and project.contains(globals):
                module = _import(f"{project.namespace}.{name}", globals, locals, fromlist or (), 0)
                return module if fromlist else sys.modules[f"{project.namespace}.{top}"]
    return _import(name, globals, locals, fromlist or (), level)


def _reason(error: BaseException) -> str:
    line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if isinstance(error, ImportError):
        line += _hint(error)
    return line


def _hint(error: ImportError) -> str:
    """Return a hint for a missing package, or for a version of it without the module or name."""
    name = error.name or ""
    missing = isinstance(error, ModuleNotFoundError)
    package = name.partition(".")[0]
    try:
        version = importlib.metadata.version(importlib.metadata.packages_distributions()[package][0])
    except (KeyError, importlib.metadata.PackageNotFoundError):
        version = None
    if version and not _is_namespace(name.rpartition(".")[0] if missing else name):
        return f"; {package} {version} is installed, and the project is written for another version"
    return "; install the project's packages alongside this service" if missing or version else ""


def _is_namespace(name: str) -> bool:
    """Return whether several distributions may have modules in an imported package: `google.cloud`."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and spec.origin is None


def _resolves_to(name: str, path: Path) -> bool:
    """Return whether a name is that of a file.

    Raises:
        ModuleNotFoundError: if the package that contains it imports a module that does not exist.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ValueError, AttributeError):
        return False
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):
            return False
        raise
    return bool(spec and spec.origin and Path(spec.origin).resolve() == path)


def _load(name: str, path: Path) -> ModuleType:
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
