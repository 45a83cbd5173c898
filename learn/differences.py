"""Compare a stage with the one before: additions in reading order, and removals, of which there must be none."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from learn.definitions import compare_definitions
from learn.facts import Facts, Operation, Setting, Tables, file_summary

Value = TypeVar("Value")

_READ_FIRST = ["main.py", "settings.py", "models.py", "schemas.py"]


@dataclass(frozen=True)
class NewFile:
    """A file that only the later stage has.

    Attributes:
        summary: The first sentence of its docstring or first comment, or an empty string.
    """

    path: str
    lines: int
    summary: str


@dataclass(frozen=True)
class Difference:
    """The difference between two stages. All but `changed_…` and `removed` is new in the later stage.

    Attributes:
        newly_authenticated: Operations of earlier stages that now require a token or an API key.
        changed_settings: Settings whose default differs, with the earlier and the later default.
        tables: New tables with their columns, and new columns of tables that both stages have.
        shared_modules: Modules of `shared` that no earlier stage imports, with their summaries.
        processes: By the module that assembles the process.
        services: Addresses that the later stage also needs, with the embedded service for each.
        changed_files: Paths that both stages have, of which the later one replaces, extends or adds something.
        removed: Descriptions of what the earlier stage has and the later one lacks.
    """

    earlier: Facts
    later: Facts
    operations: Mapping[str, Operation]
    newly_authenticated: Sequence[str]
    settings: Mapping[str, Setting]
    changed_settings: Mapping[str, tuple[str | None, str | None]]
    tables: Tables
    packages: Sequence[str]
    shared_modules: Mapping[str, str]
    processes: Mapping[str, str]
    services: Mapping[str, str]
    changed_files: Sequence[str]
    new_files: Sequence[NewFile]
    removed: Sequence[str]

    @property
    def slug(self) -> str:
        """The name of its pages, for example `1-to-2`."""
        return f"{self.earlier.stage.number}-to-{self.later.stage.number}"

    def adds_table(self, table: str) -> bool:
        """Return whether a table of `tables` is new, rather than extended."""
        return table not in self.earlier.tables


def compare(earlier: Facts, later: Facts) -> Difference:
    """Compare two stages."""
    common = earlier.files.keys() & later.files.keys()
    return Difference(
        earlier=earlier,
        later=later,
        operations=_only_in(later.operations, earlier.operations),
        newly_authenticated=[
            name
            for name, operation in earlier.operations.items()
            if name in later.operations
            and later.operations[name].requires_authentication
            and not operation.requires_authentication
        ],
        settings=_only_in(later.settings, earlier.settings),
        changed_settings={
            name: (setting.default, later.settings[name].default)
            for name, setting in earlier.settings.items()
            if name in later.settings and later.settings[name].default != setting.default
        },
        tables={
            table: added
            for table, columns in later.tables.items()
            if (added := _only_in(columns, earlier.tables.get(table, {})))
        },
        packages=[name for name in later.packages if name not in earlier.packages],
        shared_modules=_only_in(later.shared_modules, earlier.shared_modules),
        processes=_only_in(later.processes, earlier.processes),
        services=_only_in(later.services, earlier.services),
        changed_files=sorted(
            (path for path in common if compare_definitions(path, earlier.files[path], later.files[path])),
            key=lambda path: (_READ_FIRST.index(path) if path in _READ_FIRST else len(_READ_FIRST), path),
        ),
        new_files=[
            NewFile(path, text.count("\n"), file_summary(path, text))
            for path, text in later.files.items()
            if path not in common
        ],
        removed=_removed(earlier, later),
    )


def _only_in(later: Mapping[str, Value], earlier: Mapping[str, object]) -> dict[str, Value]:
    return {name: value for name, value in later.items() if name not in earlier}


def _removed(earlier: Facts, later: Facts) -> list[str]:
    """Describe the operations, settings, columns and responses that the later stage lacks."""
    removed = [f"the operation {name}" for name in earlier.operations if name not in later.operations]
    removed += [f"the setting {name}" for name in earlier.settings if name not in later.settings]
    for table, columns in earlier.tables.items():
        if table not in later.tables:
            removed.append(f"the table {table}")
        else:
            removed += [f"the column {table}.{column}" for column in columns if column not in later.tables[table]]
    for name, operation in earlier.operations.items():
        statuses = later.operations[name].statuses if name in later.operations else operation.statuses
        removed += [f"the answer {status} of {name}" for status in sorted(operation.statuses - statuses)]
    return removed


def grouped_operations(names: Iterable[str]) -> dict[str, list[str]]:
    """Group operations by the first segment of their path, and merge the methods of a path: `GET,POST /users`."""
    methods: dict[str, list[str]] = defaultdict(list)
    for name in names:
        method, _, path = name.partition(" ")
        methods[path].append(method)
    groups: dict[str, list[str]] = defaultdict(list)
    for path, path_methods in methods.items():
        groups[f"/{path.split('/')[1]}"].append(f"{','.join(path_methods)} {path}")
    return dict(groups)


def grouped_files(files: Sequence[NewFile]) -> dict[str, list[NewFile]]:
    """Group files by folder, the stage's top level first."""
    groups: dict[str, list[NewFile]] = defaultdict(list)
    for file in files:
        folder = PurePosixPath(file.path).parent.as_posix()
        groups["" if folder == "." else f"{folder}/"].append(file)
    return dict(sorted(groups.items()))
