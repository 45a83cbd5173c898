"""Migrations: bring a stage's database up to date."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic, sleep

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from dotenv import dotenv_values
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from shared.database.driver import sqlalchemy_url
from shared.errors import ConfigurationError
from shared.settings import secrets_folder

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
MIGRATION_LOCK = 7_305_961_118  # any number that no other program takes an advisory lock with
_ROOT = Path(__file__).parents[2]


def database_address() -> URL:
    """Return the database's address from the environment, `.env` or the folder of secrets.

    Raises:
        ConfigurationError: if there is none.
    """
    address = os.environ.get("DATABASE_URL") or dotenv_values(".env").get("DATABASE_URL") or _secret_address()
    if not address:
        raise ConfigurationError(
            "DATABASE_URL is not set (`make run-project…` starts an embedded PostgreSQL, migrated)"
        )
    return sqlalchemy_url(address)


def _secret_address() -> str:
    folder = secrets_folder()
    file = folder / "database_url" if folder else None
    return file.read_text().strip() if file and file.is_file() else ""


def alembic_config(package: str) -> Config:
    """Return the Alembic settings of a stage, for example `project2_user_mgmt`."""
    config = Config(_ROOT / package / "alembic.ini")
    # It is there for the `alembic` command. Whoever is here can import the stage, and `sys.path` would grow each time.
    config.remove_main_option("prepend_sys_path")
    return config


def include_own_tables(config: Config) -> Callable[..., bool]:
    """Return Alembic's `include_object` for a stage: it leaves the tables of later stages alone.

    There may be some in the database, and among the models that this process has imported.
    """
    modules = [importlib.import_module(name) for name in config.get_main_option("models", "").split()]
    names = {getattr(model, "__tablename__", None) for module in modules for model in vars(module).values()}

    def is_own(_object: object, name: str | None, kind: str, _reflected: bool, _counterpart: object) -> bool:
        return kind != "table" or name in names

    return is_own


def _heads(config: Config, branch: str) -> list[str]:
    """Name the newest version of the stages up to this one: an earlier one may have got a version after this one's."""
    revisions = ScriptDirectory.from_config(config).walk_revisions()
    labels = {label for revision in revisions for label in revision.branch_labels}
    return [f"{label}@head" for label in sorted(labels) if label <= branch]


class RequiredRevisions:
    """The versions that a stage's database should have.

    Args:
        package: The stage's package.
        branch: The label of its migrations.
    """

    def __init__(self, package: str, branch: str) -> None:
        config = alembic_config(package)
        scripts = ScriptDirectory.from_config(config)
        self._known = {script.revision: script for script in scripts.walk_revisions()}
        self._heads = {script.revision for head in _heads(config, branch) for script in scripts.get_revisions(head)}

    def satisfied_by(self, stored: Iterable[str]) -> bool:
        """Whether a database is at them, by what its `alembic_version` holds; also one that is beyond them.

        A service that is replaced goes on while the next version of it has migrated the database already.
        """
        implied: set[str] = set()
        waiting = list(stored)
        if any(revision not in self._known for revision in waiting):
            return True
        while waiting:
            revision = waiting.pop()
            if revision not in implied:
                implied.add(revision)
                script = self._known[revision]
                for before in (script.down_revision, script.dependencies):
                    waiting += [before] if isinstance(before, str) else before or ()
        return self._heads <= implied


def migrate(package: str, branch: str, arguments: Sequence[str] = ()) -> int:
    """Bring a database to the newest version of a stage.

    Args:
        package: The stage's package.
        branch: The label of its migrations.
        arguments: Of the command line: `--wait SECONDS` bears that the database is away for so long.

    Returns:
        An exit status: 0, or 2 after one line that says what is wrong.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package} migrate")
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for a database that is away")
    wait: float = parser.parse_args(arguments).wait
    try:
        config = alembic_config(package)
        _wait_for(database_address(), wait)
        for head in _heads(config, branch):
            command.upgrade(config, head)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  there is no log in a command
    except OperationalError as error:
        print(f"error: the database cannot be migrated ({type(error.orig).__name__})", file=sys.stderr)  # noqa: T201
    else:
        return 0
    return 2


def _wait_for(address: URL, seconds: float) -> None:
    """Wait for a database, and say so in one line; leave it to others to fail where it does not come."""
    given_up_at, pause, said = monotonic() + seconds, _FIRST_PAUSE_SECONDS, False
    while monotonic() < given_up_at:
        try:
            psycopg.connect(address.set(drivername="postgresql").render_as_string(False), connect_timeout=3).close()
        except psycopg.OperationalError as error:
            if not said:
                place = f"{address.host}:{address.port or 5432}"
                reason = type(error).__name__
                print(f"waiting up to {seconds:g} s for the database at {place} ({reason})", file=sys.stderr)  # noqa: T201
            said, pause = True, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            sleep(pause)
        else:
            return
