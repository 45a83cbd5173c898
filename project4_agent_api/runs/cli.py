"""Commands for operators: list the runs of all users, and stop one.

python -m project4_agent_api runs [--status STATUS] [--owner EMAIL] [--limit N]     the newest first
python -m project4_agent_api stop-run RUN_ID [--rollback]                           as its owner could
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from loguru import logger
from psycopg.errors import UndefinedTable

from project4_agent_api.core.postgres import Connection, connected, create_pool, fetch_all, fetch_one
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.stopping import publish_stopped, stop_runs
from project4_agent_api.runs.webhooks import QUEUE, TASKS, Webhooks
from project4_agent_api.settings import Settings
from shared.errors import ConfigurationError, NotFound, ServiceError
from shared.jobs.queue import add_tasks, create_job_app
from shared.redis.client import create_redis
from shared.settings import load_settings

_MAX_LINES = 10_000

_FIND_OWNER = "SELECT FROM users WHERE lower(email) = lower(%s)"
_LIST = """
    SELECT run_id, runs.created_at, runs.status, attempt, runs.metadata ->> 'graph_id' AS graph_id, email
    FROM runs LEFT JOIN users ON users.id = owner_id
    WHERE (%(status)s::text IS NULL OR runs.status = %(status)s)
        AND (%(owner)s::text IS NULL OR lower(email) = lower(%(owner)s))
    ORDER BY runs.created_at DESC, run_id DESC LIMIT %(limit)s
"""


async def _list_runs(connection: Connection, _settings: Settings, arguments: argparse.Namespace) -> str:
    """List runs with their creation time, status, attempt, graph and owner."""
    if arguments.owner is not None and await fetch_one(connection, _FIND_OWNER, [arguments.owner]) is None:
        raise NotFound("There is no account with this e-mail.")
    parameters = {"status": arguments.status, "owner": arguments.owner, "limit": arguments.limit}
    lines = [
        f"{row['run_id']}  {row['created_at']:%Y-%m-%d %H:%M:%S}  {row['status']:<11}  attempt {row['attempt']}"
        f"  {row['graph_id']}  {row['email'] or 'nobody'}"
        for row in await fetch_all(connection, _LIST, parameters)
    ]
    return "\n".join(lines) or "there are no such runs"


async def _stop_run(connection: Connection, settings: Settings, arguments: argparse.Namespace) -> str:
    """Stop a run. Its checkpoints are kept, or deleted with `--rollback`."""
    action = "rollback" if arguments.rollback else "interrupt"
    async with connection.transaction():
        stopped = await stop_runs(connection, [arguments.run_id], action, _webhooks())
    if not stopped:
        raise NotFound("There is no unfinished run with this id.")
    redis = create_redis(settings)
    try:
        await publish_stopped(redis, action, stopped, settings.run_events_seconds)
    finally:
        await redis.aclose()
    if stopped[0]["status"] == RunStatus.RUNNING:
        return "its worker was notified"
    return f"{arguments.run_id} is stopped"


def _webhooks() -> Webhooks:
    jobs = create_job_app({})
    add_tasks(jobs, TASKS, QUEUE)
    return Webhooks(jobs)


Command = Callable[[Connection, Settings, argparse.Namespace], Awaitable[str]]
COMMANDS: dict[str, Command] = {"runs": _list_runs, "stop-run": _stop_run}


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        The exit status: 0, or 2 after one line with the error.
    """
    parsed = _parser().parse_args(arguments)
    logger.remove()  # a command prints one line
    logging.disable()  # the driver's, too
    try:
        print(asyncio.run(_run(load_settings(Settings), parsed)))  # noqa: T201  a command's output
    except (ConfigurationError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  likewise
        return 2
    return 0


async def _run(settings: Settings, parsed: argparse.Namespace) -> str:
    pool = create_pool(settings)
    await pool.open(wait=False)
    try:
        async with connected(pool) as connection:
            return await COMMANDS[parsed.command](connection, settings, parsed)
    except UndefinedTable as error:
        raise ConfigurationError("the database is not migrated: `python -m project4_agent_api migrate`") from error
    finally:
        await pool.close()


def _limit(text: str) -> int:
    limit = int(text)
    if not 1 <= limit <= _MAX_LINES:
        raise argparse.ArgumentTypeError(f"must be from 1 to {_MAX_LINES}")
    return limit


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m project4_agent_api")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("runs", help=_list_runs.__doc__, description=_list_runs.__doc__)
    runs.add_argument("--status", choices=[str(status) for status in RunStatus])
    runs.add_argument("--owner", metavar="EMAIL")
    runs.add_argument("--limit", type=_limit, default=20, metavar="N", help=f"1 to {_MAX_LINES}, default 20")
    stop = commands.add_parser("stop-run", help=_stop_run.__doc__, description=_stop_run.__doc__)
    stop.add_argument("run_id", type=UUID, metavar="RUN_ID")
    stop.add_argument("--rollback", action="store_true", help="delete the run and its checkpoints")
    return parser
