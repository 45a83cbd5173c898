"""Facts about a stage, read from its code: operations, settings, tables, packages, processes, services, files."""

import ast
import asyncio
import inspect
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from learn.stages import ROOT, STAGES, CommandError, Stage
from local.services import EMBEDDED
from shared.database.migrate import migrate

_DATABASE = "learn_differences"
_CODE = (".py", ".js", ".css", ".html", ".ini", ".mako")

Tables = dict[str, dict[str, str]]  # table, column, type


@dataclass(frozen=True)
class Operation:
    """An operation of a stage's API.

    Attributes:
        summary: The first sentence of its description.
        requires_authentication: Whether it requires a token or an API key.
    """

    summary: str
    statuses: frozenset[str]
    requires_authentication: bool


@dataclass(frozen=True)
class Setting:
    """A setting.

    Attributes:
        default: The default as text; None if the setting is required.
        summary: The first sentence of its description, or an empty string.
    """

    default: str | None
    summary: str


@dataclass(frozen=True)
class Facts:
    """Everything that is compared between two stages.

    Attributes:
        operations: By method and path, such as `GET /users`.
        packages: The requirements of the stage's extra, without those of earlier stages.
        shared_modules: Summaries of the modules of `shared` that this stage or an earlier one imports, by path.
        processes: By the module that assembles the process: `main` and, in stage 4, `worker`.
        services: Embedded services that the launcher starts, by the setting that holds the address.
        files: Source files, by path relative to the stage's folder.
    """

    stage: Stage
    operations: Mapping[str, Operation]
    settings: Mapping[str, Setting]
    tables: Tables
    packages: Sequence[str]
    shared_modules: Mapping[str, str]
    processes: Mapping[str, str]
    services: Mapping[str, str]
    files: Mapping[str, str] = field(repr=False)


async def read_facts(numbers: Sequence[int]) -> list[Facts]:
    """Read the facts of some stages, in ascending order: create their applications and migrate an embedded database."""
    with redirect_stdout(StringIO()):  # the embedded database prints its address
        schemas = asyncio.create_task(_read_tables(numbers))
        await asyncio.sleep(0)  # the database starts while the stages are imported
        without_tables = await asyncio.to_thread(lambda: [_read(STAGES[number]) for number in numbers])
        tables = await schemas
    return [Facts(tables=tables[read["stage"].number], **read) for read in without_tables]


def _read(stage: Stage) -> dict[str, Any]:
    fields: dict[str, FieldInfo] = stage.module("settings").Settings.model_fields
    return {
        "stage": stage,
        "operations": _operations(stage.openapi()),
        "settings": {name.upper(): _setting(info) for name, info in fields.items()},
        "packages": required_packages(stage),
        "shared_modules": shared_modules(stage),
        "processes": _processes(stage),
        "services": {
            setting.upper(): first_sentence(inspect.getdoc(embed) or "").removeprefix("Create the process of ")
            for setting, embed in EMBEDDED.items()
            if setting in fields
        },
        "files": source_files(stage),
    }


def _operations(document: dict[str, Any]) -> dict[str, Operation]:
    return {
        f"{method.upper()} {path}": Operation(
            summary=first_sentence(operation.get("description", "")),
            statuses=frozenset(operation["responses"]),
            requires_authentication=bool(operation.get("security")),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _setting(info: FieldInfo) -> Setting:
    required = info.default is PydanticUndefined and info.default_factory is None
    default = None if required else str(info.get_default(call_default_factory=True, validated_data={}))
    return Setting(default, first_sentence(info.description or ""))


def required_packages(stage: Stage) -> list[str]:
    """Return the packages that a stage's extra requires, without the extras of earlier stages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements: list[str] = project["optional-dependencies"][stage.name]
    names = {re.split(r"[ <>=!~;\[]", requirement, maxsplit=1)[0] for requirement in requirements}
    return sorted(names - {project["name"]})


def _processes(stage: Stage) -> dict[str, str]:
    names = [name for name in ("main", "worker") if (stage.folder / f"{name}.py").exists()]
    return {name: first_sentence(stage.module(name).__doc__ or "") for name in names}


def shared_modules(stage: Stage) -> dict[str, str]:
    """Return the modules of `shared` that a stage or an earlier one imports directly, with their summaries."""
    folders = [STAGES[number].folder for number in range(1, stage.number + 1)]
    texts = [path.read_text("utf-8") for folder in folders for path in sorted(folder.rglob("*.py"))]
    return {path: file_summary(path, (ROOT / path).read_text("utf-8")) for path in shared_imports(texts)}


def shared_imports(texts: Iterable[str]) -> list[str]:
    """Return the paths of the modules of `shared` that some Python sources import, sorted."""
    found: set[str] = set()
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.ImportFrom(module=str(module)):
                    # The name may be a module of the package or something that the module defines.
                    names = [path for name in node.names if (path := _shared_module(f"{module}.{name.name}"))]
                    found.update(names or filter(None, [_shared_module(module)]))
                case ast.Import():
                    found.update(path for name in node.names if (path := _shared_module(name.name)))
    return sorted(found)


def _shared_module(name: str) -> str | None:
    if not name.startswith("shared."):
        return None
    base = name.replace(".", "/")
    return next((path for path in (f"{base}.py", f"{base}/__init__.py") if (ROOT / path).is_file()), None)


def source_files(stage: Stage) -> dict[str, str]:
    """Return the text of a stage's source files, by path relative to its folder."""
    return {
        path.relative_to(stage.folder).as_posix(): path.read_text("utf-8")
        for path in sorted(stage.folder.rglob("*"))
        if path.suffix in _CODE and "__pycache__" not in path.parts
    }


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, on one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s(?=[A-Z`])", paragraph, maxsplit=1)[0]


async def _read_tables(numbers: Sequence[int]) -> dict[int, Tables]:
    """Migrate one database through the stages, and read its tables after each."""
    stages = [STAGES[number] for number in range(1, max(numbers) + 1)]
    async with postgresql() as server:
        return await asyncio.to_thread(_migrated, server, stages)


def _migrated(server: str, stages: Sequence[Stage]) -> dict[int, Tables]:
    tables: dict[int, Tables] = {}
    with _database(server) as address:
        for stage in stages:
            if (stage.folder / "migrations").exists() and migrate(stage.package, stage.name) != 0:
                raise CommandError(f"the migrations of {stage.package} failed")
            with psycopg.connect(address) as connection:
                tables[stage.number] = _tables(connection)
    return tables


@contextmanager
def _database(server: str) -> Iterator[str]:
    """Create a database, and point `DATABASE_URL` at it while the block runs."""
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


def file_summary(path: Path | str, text: str) -> str:
    """Return the first sentence of a file's docstring or, in other languages, of its first comment."""
    if str(path).endswith(".py"):
        found = re.match(r'\s*(?:"""|\'\'\')(.*?)(?:"""|\'\'\')', text, re.DOTALL)
    else:
        found = re.match(r"\s*(?:/\*+|<!--|//+)\s*(.*?)(?:\*/|-->|\n)", text, re.DOTALL)
    summary = first_sentence(re.sub(r"\n \* ?", "\n", found[1]).removeprefix("*")) if found else ""
    return "" if summary.startswith("@") else summary  # a JSDoc comment with types only
