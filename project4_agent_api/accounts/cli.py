"""Commands for operators. Each prints one line: its result, or an error.

python -m project4_agent_api create-admin EMAIL [--name NAME]     prompts for a password, or reads it from a pipe
python -m project4_agent_api set-role EMAIL user|admin
python -m project4_agent_api deactivate EMAIL                     ends its sign-ins, and suspends its API keys
python -m project4_agent_api activate EMAIL
python -m project4_agent_api adopt-documents EMAIL                moves the documents uploaded without accounts to it
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
from project4_agent_api.accounts.principal_cache import TTL_SECONDS, invalidate_account
from project4_agent_api.accounts.schemas import AccountCreate
from project4_agent_api.models import AccountRole
from project4_agent_api.settings import names_in_redis
from shared.database.engine import Sessions, create_engine, create_session_factory, transaction
from shared.database.migrate import database_address
from shared.errors import ConfigurationError, ServiceError
from shared.jobs.queue import create_job_app
from shared.redis.address import redis_address
from shared.redis.client import create_redis

_STATEMENT_SECONDS = 600  # inserting the chunks of a large document into the vector index is slow


@dataclass(frozen=True)
class _Database:
    """The database settings of a command, so that it runs without the other settings of the service."""

    database_url: str = field(repr=False)
    database_session_url: str | None = None
    db_pool_size: int = 1
    db_pool_timeout_seconds: float = 3
    db_connect_timeout_seconds: int = 3
    db_statement_timeout_seconds: float = _STATEMENT_SECONDS


@dataclass(frozen=True)
class _Redis:
    redis_url: str = field(repr=False)
    redis_names: str


def _redis() -> _Redis | None:
    environment = dotenv_values(".env") | os.environ
    url = environment.get("REDIS_URL")
    if not url:
        return None
    try:
        redis_address(url)
    except ValueError as error:
        raise ConfigurationError(f"REDIS_URL: {error}") from None
    return _Redis(url, names_in_redis(environment.get("REDIS_PREFIX") or "", database_address()))


async def _invalidate(account_id: UUID) -> None:
    """Invalidate an account in the caches of all processes. Without REDIS_URL, wait until they have expired."""
    settings = _redis()
    if settings is None:
        await asyncio.sleep(TTL_SECONDS)
        return
    redis = create_redis(settings)
    try:
        await invalidate_account(redis, account_id)
    finally:
        await redis.aclose()


async def _create_admin(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Create an administrator's account. Its password is prompted for, or read from a pipe."""
    email: str = arguments.email
    new = AccountCreate(email=email, name=arguments.name or email.partition("@")[0], password=_read_password())
    password_hash = await hash_password(new.password)
    async with transaction(sessions) as session:
        user = await users.create_user(session, new, password_hash)
        await accounts.set_role(session, user.id, AccountRole.ADMIN)
    return f"{user.email} is an administrator"


def _read_password() -> SecretStr:
    if not sys.stdin.isatty():
        return SecretStr(sys.stdin.readline().rstrip("\r\n"))
    password = getpass("Password: ")
    if getpass("Repeat the password: ") != password:
        raise ConfigurationError("the passwords do not match")
    return SecretStr(password)


async def _set_role(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Set the role of an account. It applies from the next request."""
    async with transaction(sessions) as session:
        user = await accounts.get_user_by_email(session, arguments.email)
        await accounts.set_role(session, user.id, AccountRole(arguments.role))
    await _invalidate(user.id)
    return f"the role of {user.email} is {arguments.role}"


async def _deactivate(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Deactivate an account: its tokens and API keys are rejected from the next request."""
    async with transaction(sessions) as session:
        user = await accounts.get_user_by_email(session, arguments.email)
        await accounts.set_active(session, user.id, active=False)
    await _invalidate(user.id)
    return f"{user.email} is deactivated"


async def _activate(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Activate a deactivated account, so that it can sign in again."""
    async with transaction(sessions) as session:
        user = await accounts.get_user_by_email(session, arguments.email)
        await accounts.set_active(session, user.id, active=True)
    return f"{user.email} is active"


async def _adopt_documents(sessions: Sessions, arguments: argparse.Namespace) -> str:
    """Move the documents that were uploaded without accounts to an account."""
    async with transaction(sessions) as session:
        user = await accounts.get_user_by_email(session, arguments.email)
    adopted, duplicates = await adopt_documents(sessions, create_job_app(job.TASKS), user.id)
    return f"{user.email} got {adopted} documents, and had {duplicates} already"


COMMANDS: dict[str, Callable[[Sessions, argparse.Namespace], Awaitable[str]]] = {
    "create-admin": _create_admin,
    "set-role": _set_role,
    "deactivate": _deactivate,
    "activate": _activate,
    "adopt-documents": _adopt_documents,
}


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit status: 0, or 2 after an error."""
    parser = argparse.ArgumentParser(prog="python -m project4_agent_api")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.add_argument("email")
        if name == "create-admin":
            command.add_argument("--name", help="defaults to the part of the e-mail before the @")
        if name == "set-role":
            command.add_argument("role", choices=[role.value for role in AccountRole])
    parsed = parser.parse_args(arguments)
    logger.remove()  # a command prints one line
    try:
        print(asyncio.run(_run(parsed)))  # noqa: T201  the output of a command
    except ValidationError as error:
        first = error.errors()[0]
        return _fail(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}")
    except ServiceError as error:
        return _fail(error.detail)
    except ConfigurationError as error:
        return _fail(str(error))
    return 0


async def _run(arguments: argparse.Namespace) -> str:
    database = _Database(database_address())
    _redis()  # an invalid address must not be found after the change
    engine = create_engine(database)
    try:
        return await COMMANDS[arguments.command](create_session_factory(engine), arguments)
    except ProgrammingError as error:  # a table does not exist
        raise ConfigurationError("the database is not migrated: `python -m project4_agent_api migrate`") from error
    finally:
        await engine.dispose()


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201  the output of a command
    return 2
