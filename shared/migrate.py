"""Migrations: bring a stage's database up to date."""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from dotenv import dotenv_values
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from shared.database import driver_url
from shared.errors import ConfigurationError
from shared.settings import secrets_folder

ONE_AT_A_TIME = 7_305_961_118  # any number that no other program takes an advisory lock with
_ROOT = Path(__file__).parents[1]


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
    return driver_url(address)


def _secret_address() -> str:
    folder = secrets_folder()
    file = folder / "database_url" if folder else None
    return file.read_text().strip() if file and file.is_file() else ""


def alembic_config(package: str) -> Config:
    """Return the Alembic settings of a stage, for example `project2_user_mgmt`."""
    return Config(_ROOT / package / "alembic.ini")


def own_tables(config: Config) -> Callable[..., bool]:
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
    deadline = time.monotonic() + parser.parse_args(arguments).wait
    while True:
        try:
            config = alembic_config(package)
            for head in _heads(config, branch):
                command.upgrade(config, head)
        except ConfigurationError as error:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201  there is no log in a command
        except OperationalError as error:
            if time.monotonic() < deadline:
                time.sleep(1)
                continue
            print(f"error: the database cannot be migrated ({type(error.orig).__name__})", file=sys.stderr)  # noqa: T201
        else:
            return 0
        return 2
