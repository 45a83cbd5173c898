"""Migrations of a stage's database with Alembic."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from dotenv import dotenv_values
from psycopg.conninfo import make_conninfo
from sqlalchemy.exc import DBAPIError

from shared.database.address import check_session_address, connection_parameters
from shared.database.errors import is_read_only, unavailable
from shared.errors import ConfigurationError
from shared.settings import secrets_folder

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
MIGRATION_LOCK = 7_305_961_118  # key of an advisory lock; arbitrary
_ROOT = Path(__file__).parents[2]


def database_address() -> str:
    """Return the address of the database itself from the environment, `.env` or the secrets folder.

    Raises:
        ConfigurationError: if none of them has it, or it is invalid.
    """
    address, session_address = _setting("DATABASE_URL"), _setting("DATABASE_SESSION_URL")
    if not address:
        raise ConfigurationError(
            "DATABASE_URL is not set (`make run-project…` starts an embedded PostgreSQL, migrated)"
        )
    for name, value in (("DATABASE_URL", address), ("DATABASE_SESSION_URL", session_address)):
        try:
            connection_parameters(value or address)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from None
    try:
        check_session_address(address, session_address)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return session_address or address


def _setting(name: str) -> str:
    folder = secrets_folder()
    file = folder / name.lower() if folder else None
    stored = file.read_text() if file and file.is_file() else ""
    return os.environ.get(name) or dotenv_values(".env").get(name) or stored


def alembic_config(package: str) -> Config:
    """Return the Alembic configuration of a stage's package, such as `project2_user_mgmt`."""
    config = Config(_ROOT / package / "alembic.ini")
    # Only the `alembic` command needs it; here it would extend `sys.path` with every call.
    config.remove_main_option("prepend_sys_path")
    # All stages, so that an earlier stage accepts a database that a later stage has migrated.
    folders = sorted(map(str, _ROOT.glob("project*/migrations/versions")))
    config.set_main_option("version_locations", "\n".join(folders).replace("%", "%%"))
    return config


def include_own_tables(config: Config) -> Callable[..., bool]:
    """Return Alembic's `include_object` for a stage, which excludes the tables of later stages.

    The database and the models imported by this process may include such tables.
    """
    modules = [importlib.import_module(name) for name in config.get_main_option("models", "").split()]
    names = {getattr(model, "__tablename__", None) for module in modules for model in vars(module).values()}

    def is_own(_object: object, name: str | None, kind: str, _reflected: bool, _counterpart: object) -> bool:
        return kind != "table" or name in names

    return is_own


def _heads(config: Config, branch: str) -> list[str]:
    """Return the newest revisions of a stage and all earlier ones: an earlier stage can get a revision at any time."""
    revisions = ScriptDirectory.from_config(config).walk_revisions()
    labels = {label for revision in revisions for label in revision.branch_labels}
    return [f"{label}@head" for label in sorted(labels) if label <= branch]


class RequiredRevisions:
    """The revisions that a stage requires of its database.

    Args:
        package: Package of the stage.
        branch: Branch label of its migrations.
    """

    def __init__(self, package: str, branch: str) -> None:
        config = alembic_config(package)
        scripts = ScriptDirectory.from_config(config)
        self._known = {script.revision: script for script in scripts.walk_revisions()}
        self._heads = {script.revision for head in _heads(config, branch) for script in scripts.get_revisions(head)}

    def satisfied_by(self, stored: Iterable[str]) -> bool:
        """Return whether a database with these rows in `alembic_version` is current, or newer.

        An unknown revision is newer: during a rolling update the next version has migrated the database already.
        """
        applied: set[str] = set()
        pending = list(stored)
        if any(revision not in self._known for revision in pending):
            return True
        while pending:
            revision = pending.pop()
            if revision not in applied:
                applied.add(revision)
                script = self._known[revision]
                for previous in (script.down_revision, script.dependencies):
                    pending += [previous] if isinstance(previous, str) else previous or ()
        return self._heads <= applied


def migrate(package: str, branch: str, arguments: Sequence[str] = ()) -> int:
    """Run the `migrate` command: upgrade the database to the newest revision of a stage.

    Args:
        package: Package of the stage.
        branch: Branch label of its migrations.
        arguments: Arguments of the command line.

    Returns:
        Exit status: 0, or 2 after a one-line error message.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package} migrate")
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for the database to become available")
    wait: float = parser.parse_args(arguments).wait
    try:
        config = alembic_config(package)
        _wait_for(connection_parameters(database_address()), wait)
        for head in _heads(config, branch):
            command.upgrade(config, head)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command has no log
    except DBAPIError as error:
        if unavailable(error) is None and not isinstance(error.orig, psycopg.errors.InvalidSchemaName):
            raise
        reason = "it is read-only" if is_read_only(error) else type(error.orig).__name__
        print(f"error: the database cannot be migrated ({reason})", file=sys.stderr)  # noqa: T201  a command has no log
    else:
        return 0
    return 2


def _wait_for(parameters: Mapping[str, str], seconds: float) -> None:
    """Wait until the database accepts connections, or the time is up: then the migration reports the failure."""
    deadline, pause, announced = monotonic() + seconds, _FIRST_PAUSE_SECONDS, False
    while monotonic() < deadline:
        try:
            psycopg.connect(make_conninfo("", **{**parameters, "connect_timeout": "3"})).close()
        except psycopg.OperationalError as error:
            if not announced:
                place = f"{parameters.get('host', 'localhost')}:{parameters.get('port', '5432')}"
                reason = "it is read-only" if is_read_only(error) else type(error).__name__
                print(f"waiting up to {seconds:g} s for the database at {place} ({reason})", file=sys.stderr)  # noqa: T201  a command, before logs are configured
            announced, pause = True, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            sleep(pause)
        else:
            return
