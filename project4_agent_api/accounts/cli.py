"""Commands for operators. Each says in one line what it did, or what is wrong.

python -m project4_agent_api create-admin EMAIL [--name NAME]     asks for a password, or reads it from a pipe
python -m project4_agent_api set-role EMAIL user|admin
python -m project4_agent_api deactivate EMAIL                     ends its sign-ins, and its API keys rest
python -m project4_agent_api activate EMAIL
python -m project4_agent_api adopt-documents EMAIL                gives it what was uploaded without accounts
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from getpass import getpass
from uuid import UUID

from dotenv import dotenv_values
from loguru import logger
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import ProgrammingError

from project2_user_mgmt import users
from project2_user_mgmt.passwords import hash_password
from project3_rag_docs.ingestion import job
from project4_agent_api.accounts import service as accounts
from project4_agent_api.accounts.adoption import adopt_documents
from project4_agent_api.accounts.principal_cache import LEASE_SECONDS, forget_account
from project4_agent_api.accounts.schemas import AccountCreate
from project4_agent_api.models import AccountRole
from project4_agent_api.settings import names_in_redis
from shared.database.engine import Sessions, create_engine, create_sessions, transaction
from shared.database.migrate import database_address
from shared.errors import ConfigurationError, ServiceError
from shared.jobs.queue import create_job_app
from shared.redis.client import create_redis

_STATEMENT_SECONDS = 600  # a document's chunks are written to an index that is slow to write


@dataclass(frozen=True)
class _Database:
    """What a command needs to know: less than what serving does."""

    database_url: str = field(repr=False)
    db_pool_size: int = 1
    db_pool_timeout_seconds: float = 3
    db_connect_timeout_seconds: int = 3
    db_statement_timeout_seconds: float = _STATEMENT_SECONDS


@dataclass(frozen=True)
class _Redis:
    redis_url: str = field(repr=False)
    redis_names: str


async def _changed(account_id: UUID) -> None:
    """Return when no process trusts any more what it remembers of an account."""
    told = dotenv_values(".env") | os.environ
    address = told.get("REDIS_URL")
    if not address:
        await asyncio.sleep(LEASE_SECONDS)
        return
    redis = create_redis(_Redis(address, names_in_redis(told.get("REDIS_PREFIX") or "", database_address())))
    try:
        await forget_account(redis, account_id)
    finally:
        await redis.aclose()


async def _create_admin(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Make an account of an administrator; its password is asked for, or read from a pipe."""
    email: str = arguments.email
    new = AccountCreate(email=email, name=arguments.name or email.partition("@")[0], password=_ask_for_password())
    password_hash = await hash_password(new.password)
    async with transaction(sessions) as session:
        user = await users.create_user(session, new, password_hash)
        await accounts.set_role(session, user.id, AccountRole.ADMIN)
    return f"{user.email} is an administrator"


def _ask_for_password() -> SecretStr:
    if not sys.stdin.isatty():
        return SecretStr(sys.stdin.readline().rstrip("\r\n"))
    password = getpass("Password: ")
    if getpass("The same again: ") != password:
        raise ConfigurationError("these were two different passwords")
    return SecretStr(password)


async def _set_role(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Say what an account may do, from its next request on."""
    async with transaction(sessions) as session:
        user = await accounts.find_by_email(session, arguments.email)
        await accounts.set_role(session, user.id, AccountRole(arguments.role))
    await _changed(user.id)
    return f"the role of {user.email} is {arguments.role}"


async def _deactivate(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Lock an account out, from its next request on; its API keys too."""
    async with transaction(sessions) as session:
        user = await accounts.find_by_email(session, arguments.email)
        await accounts.set_active(session, user.id, active=False)
    await _changed(user.id)
    return f"{user.email} is locked out"


async def _activate(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Let a deactivated account sign in again."""
    async with transaction(sessions) as session:
        user = await accounts.find_by_email(session, arguments.email)
        await accounts.set_active(session, user.id, active=True)
    return f"{user.email} can sign in"


async def _adopt_documents(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Give an account the documents that were uploaded without accounts."""
    async with transaction(sessions) as session:
        user = await accounts.find_by_email(session, arguments.email)
    adopted, known = await adopt_documents(sessions, create_job_app(job.TASKS), user.id)
    return f"{user.email} got {adopted} documents, and had {known} already"


COMMANDS: dict[str, Callable[[Sessions, argparse.Namespace], Awaitable[str]]] = {
    "create-admin": _create_admin,
    "set-role": _set_role,
    "deactivate": _deactivate,
    "activate": _activate,
    "adopt-documents": _adopt_documents,
}


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        An exit status: 0; or 2 after one line that says what is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m project4_agent_api")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.add_argument("email")
        if name == "create-admin":
            command.add_argument("--name", help="the beginning of the e-mail, if not given")
        if name == "set-role":
            command.add_argument("role", choices=[role.value for role in AccountRole])
    given = parser.parse_args(arguments)
    logger.remove()  # a command says one line
    try:
        print(asyncio.run(_run(given)))  # noqa: T201  a command talks to a terminal
    except ValidationError as error:
        first = error.errors()[0]
        return _complain(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}")
    except ServiceError as error:
        return _complain(error.detail)
    except ConfigurationError as error:
        return _complain(str(error))
    return 0


async def _run(arguments: argparse.Namespace) -> str:
    database = _Database(database_address().render_as_string(hide_password=False))
    engine = create_engine(database)
    try:
        return await COMMANDS[arguments.command](create_sessions(engine), arguments)
    except ProgrammingError as error:  # a table that is not there
        raise ConfigurationError("the database is not migrated: `python -m project4_agent_api migrate`") from error
    finally:
        await engine.dispose()


def _complain(what: str) -> int:
    print(f"error: {what}", file=sys.stderr)  # noqa: T201  a command talks to a terminal
    return 2
