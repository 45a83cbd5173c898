"""What a stage adds to the one before, in the order in which one understands it, and what it takes away: nothing."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from learn.facts import Facts, Operation, Setting, Tables, described

Value = TypeVar("Value")

_READ_FIRST = ["main.py", "settings.py", "models.py", "schemas.py"]  # what a stage is made of


@dataclass(frozen=True)
class NewFile:
    """A file that only the later stage has.

    Attributes:
        path: In the stage's folder.
        lines: How many.
        does: What it says of itself, perhaps nothing.
    """

    path: str
    lines: int
    does: str


@dataclass(frozen=True)
class Difference:
    """Two stages, compared. Everything but `changed_…` and `removed` is what only the later one has.

    Attributes:
        earlier: The facts of the stage before.
        later: The facts of the stage that adds.
        operations: New ones.
        newly_locked: Operations that now want a token or a key.
        settings: New ones.
        changed_settings: Those with another default: the two stages' defaults.
        tables: New tables with their columns, and new columns of tables that both have.
        packages: That the stage asks for besides.
        processes: New ones, by the modules that put them together.
        services: Addresses that it has to be given besides.
        changed_files: Paths of those that both have, where the text differs.
        new_files: The others.
        removed: What the earlier stage has and the later one has not, in words.
    """

    earlier: Facts
    later: Facts
    operations: Mapping[str, Operation]
    newly_locked: Sequence[str]
    settings: Mapping[str, Setting]
    changed_settings: Mapping[str, tuple[str | None, str | None]]
    tables: Tables
    packages: Sequence[str]
    processes: Mapping[str, str]
    services: Mapping[str, str]
    changed_files: Sequence[str]
    new_files: Sequence[NewFile]
    removed: Sequence[str]

    @property
    def slug(self) -> str:
        """For example `1-to-2`: what its pages are called."""
        return f"{self.earlier.stage.number}-to-{self.later.stage.number}"

    def adds_table(self, table: str) -> bool:
        """Say whether a table of `tables` is new as a whole."""
        return table not in self.earlier.tables


def difference(earlier: Facts, later: Facts) -> Difference:
    """Compare two stages."""
    common = earlier.files.keys() & later.files.keys()
    return Difference(
        earlier=earlier,
        later=later,
        operations=_only_in(later.operations, earlier.operations),
        newly_locked=[
            name
            for name, operation in earlier.operations.items()
            if name in later.operations and later.operations[name].locked and not operation.locked
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
        processes=_only_in(later.processes, earlier.processes),
        services=_only_in(later.services, earlier.services),
        changed_files=sorted(
            (path for path in common if earlier.files[path] != later.files[path]),
            key=lambda path: (_READ_FIRST.index(path) if path in _READ_FIRST else len(_READ_FIRST), path),
        ),
        new_files=[
            NewFile(path, text.count("\n"), described(path, text))
            for path, text in later.files.items()
            if path not in common
        ],
        removed=_removed(earlier, later),
    )


def _only_in(later: Mapping[str, Value], earlier: Mapping[str, object]) -> dict[str, Value]:
    return {name: value for name, value in later.items() if name not in earlier}


def _removed(earlier: Facts, later: Facts) -> list[str]:
    """Name what the earlier stage has and the later one has not."""
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
    """Group operations by the first part of their path: `/users` has `GET,POST /users`, `GET /users/{user_id}`."""
    methods: dict[str, list[str]] = defaultdict(list)
    for name in names:
        method, _, path = name.partition(" ")
        methods[path].append(method)
    groups: dict[str, list[str]] = defaultdict(list)
    for path, of_path in methods.items():
        groups[f"/{path.split('/')[1]}"].append(f"{','.join(of_path)} {path}")
    return dict(groups)


def grouped_files(files: Sequence[NewFile]) -> dict[str, list[NewFile]]:
    """Group files by their folder, those of the stage's own folder first."""
    groups: dict[str, list[NewFile]] = defaultdict(list)
    for file in files:
        folder = PurePosixPath(file.path).parent.as_posix()
        groups["" if folder == "." else f"{folder}/"].append(file)
    return dict(sorted(groups.items()))
