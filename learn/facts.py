"""What a stage is, read from its code: operations, settings, tables, packages, processes, services, files."""

import asyncio
import inspect
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sqlalchemy.engine import make_url

from bench.databases import postgresql
from learn.stages import ROOT, STAGES, CannotDo, Stage
from local.services import EMBEDDED
from shared.database.migrate import migrate

_DATABASE = "learn_differences"
_CODE = (".py", ".js", ".css", ".html", ".ini", ".mako")

Tables = dict[str, dict[str, str]]  # table, column, type


@dataclass(frozen=True)
class Operation:
    """An operation of a stage's API.

    Attributes:
        does: The first sentence of what its documentation says.
        statuses: That it documents.
        locked: Whether it wants a token or a key.
    """

    does: str
    statuses: frozenset[str]
    locked: bool


@dataclass(frozen=True)
class Setting:
    """A setting.

    Attributes:
        default: As it is written; None where it must be given.
        does: The first sentence of its description, perhaps none.
    """

    default: str | None
    does: str


@dataclass(frozen=True)
class Facts:
    """All that is compared of a stage.

    Attributes:
        stage: Which one.
        operations: By method and path, such as `GET /users`.
        settings: By their names in the environment.
        tables: Of its database, migrated.
        packages: That its extra asks for, besides those of the stages before.
        processes: By the modules that put them together: `main`, perhaps `worker`.
        services: What the launcher starts, by the setting that holds its address.
        files: Of code, by their paths in its folder.
    """

    stage: Stage
    operations: Mapping[str, Operation]
    settings: Mapping[str, Setting]
    tables: Tables
    packages: Sequence[str]
    processes: Mapping[str, str]
    services: Mapping[str, str]
    files: Mapping[str, str] = field(repr=False)


async def read_facts(numbers: Sequence[int]) -> list[Facts]:
    """Read the facts of stages, whose applications are made for it, and their databases migrated.

    Args:
        numbers: Of the stages, ascending.
    """
    with redirect_stdout(StringIO()):  # what embeds a database says where
        schemas = asyncio.create_task(_read_tables(numbers))
        await asyncio.sleep(0)  # the database starts while the stages are imported
        without_tables = await asyncio.to_thread(lambda: [_read(STAGES[number]) for number in numbers])
        tables = await schemas
    return [Facts(tables=tables[one["stage"].number], **one) for one in without_tables]


def _read(stage: Stage) -> dict[str, Any]:
    fields: dict[str, FieldInfo] = stage.module("settings").Settings.model_fields
    return {
        "stage": stage,
        "operations": _operations(stage.openapi()),
        "settings": {name.upper(): _setting(info) for name, info in fields.items()},
        "packages": packages_of(stage),
        "processes": _processes(stage),
        "services": {
            setting.upper(): first_sentence(inspect.getdoc(embed) or "").removeprefix("Embed ")
            for setting, embed in EMBEDDED.items()
            if setting in fields
        },
        "files": files_of(stage),
    }


def _operations(document: dict[str, Any]) -> dict[str, Operation]:
    return {
        f"{method.upper()} {path}": Operation(
            does=first_sentence(operation.get("description", "")),
            statuses=frozenset(operation["responses"]),
            locked=bool(operation.get("security")),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _setting(info: FieldInfo) -> Setting:
    required = info.default is PydanticUndefined and info.default_factory is None
    default = None if required else str(info.get_default(call_default_factory=True, validated_data={}))
    return Setting(default, first_sentence(info.description or ""))


def packages_of(stage: Stage) -> list[str]:
    """Name the packages that a stage's extra asks for, without the extras of the stages before."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements: list[str] = project["optional-dependencies"][stage.name]
    names = {re.split(r"[ <>=!~;\[]", requirement, maxsplit=1)[0] for requirement in requirements}
    return sorted(names - {project["name"]})


def _processes(stage: Stage) -> dict[str, str]:
    names = [name for name in ("main", "worker") if (stage.folder / f"{name}.py").exists()]
    return {name: first_sentence(stage.module(name).__doc__ or "") for name in names}


def files_of(stage: Stage) -> dict[str, str]:
    """Return the text of a stage's files of code, by their paths in its folder."""
    return {
        path.relative_to(stage.folder).as_posix(): path.read_text("utf-8")
        for path in sorted(stage.folder.rglob("*"))
        if path.suffix in _CODE and "__pycache__" not in path.parts
    }


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, in one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s(?=[A-Z`])", paragraph, maxsplit=1)[0]


async def _read_tables(numbers: Sequence[int]) -> dict[int, Tables]:
    """Migrate one database through the stages, and look at it after each."""
    stages = [STAGES[number] for number in range(1, max(numbers) + 1)]
    async with postgresql() as server:
        return await asyncio.to_thread(_migrated, server, stages)


def _migrated(server: str, stages: Sequence[Stage]) -> dict[int, Tables]:
    tables: dict[int, Tables] = {}
    with _database(server) as address:
        for stage in stages:
            if (stage.folder / "migrations").exists() and migrate(stage.package, stage.name) != 0:
                raise CannotDo(f"the migrations of {stage.package} failed")
            with psycopg.connect(address) as connection:
                tables[stage.number] = _tables(connection)
    return tables


@contextmanager
def _database(server: str) -> Iterator[str]:
    """A new database, which `migrate` finds while the block runs."""
    address = make_url(server).set(database=_DATABASE).render_as_string(hide_password=False)
    name = sql.Identifier(_DATABASE)
    before = os.environ.get("DATABASE_URL")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        os.environ["DATABASE_URL"] = address
        try:
            yield address
        finally:
            os.environ.pop("DATABASE_URL")
            if before is not None:
                os.environ["DATABASE_URL"] = before
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _tables(connection: psycopg.Connection[Any]) -> Tables:
    tables: Tables = {}
    for table, column, kind in connection.execute(
        """
        SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND relname NOT LIKE 'alembic_version%' AND NOT relispartition
        ORDER BY relname, attnum
        """
    ):
        tables.setdefault(table, {})[column] = kind
    return tables


def described(path: Path | str, text: str) -> str:
    """Return what a file says of itself: its docstring's first sentence, or its first comment's."""
    if str(path).endswith(".py"):
        found = re.match(r'\s*(?:"""|\'\'\')(.*?)(?:"""|\'\'\')', text, re.DOTALL)
    else:
        found = re.match(r"\s*(?:/\*+|<!--|//+)\s*(.*?)(?:\*/|-->|\n)", text, re.DOTALL)
    said = first_sentence(re.sub(r"\n \* ?", "\n", found[1]).removeprefix("*")) if found else ""
    return "" if said.startswith("@") else said  # a comment of types only
