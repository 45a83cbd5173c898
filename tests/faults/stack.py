"""The whole of stage 4 with servers of its own, each behind a proxy, so that everything can be killed and cut off."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from redis import Redis
from sqlalchemy.engine import make_url

from local.processes import Child
from local.services import postgres, valkey
from local.state import StageState
from tests.support.agent_service import AgentService, agent_service
from tests.support.databases import Databases
from tests.support.pgbouncer import pgbouncer
from tests.support.proxy import Background, Proxy
from tests.support.redis_groups import PREFIX, sentinel_group
from tests.support.scripted_model import ScriptedModel

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"
LEASE_SECONDS = 2.0

# Writes down each end of a run: one that ended twice stands there twice.
WATCH_ENDS = """
    CREATE TABLE ends (run_id uuid, status text, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO ends VALUES (OLD.run_id, CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE NEW.status END);
        RETURN NULL; END $$;
    CREATE TRIGGER changed AFTER UPDATE ON runs FOR EACH ROW
        WHEN (OLD.status IN ('pending', 'running') AND NEW.status NOT IN ('pending', 'running'))
        EXECUTE FUNCTION note_end();
    CREATE TRIGGER gone AFTER DELETE ON runs FOR EACH ROW
        WHEN (OLD.status IN ('pending', 'running')) EXECUTE FUNCTION note_end();
"""


_ORPHANS = """
    SELECT thread_id FROM (
        SELECT thread_id FROM checkpoints UNION SELECT thread_id FROM checkpoint_blobs
        UNION SELECT thread_id FROM checkpoint_writes
    ) AS kept WHERE thread_id::uuid NOT IN (SELECT thread_id FROM threads)
"""

_END = """
    WITH over AS (
        UPDATE runs SET status = 'success', started_at = now(), updated_at = now()
        WHERE status IN ('pending', 'running') RETURNING thread_id
    )
    UPDATE threads SET status = 'idle', values = %(values)s FROM over WHERE threads.thread_id = over.thread_id
"""


class Stack:
    """PostgreSQL and Valkey, a proxy before each, an API and workers.

    Attributes:
        database: The proxy before PostgreSQL.
        redis: The proxy before Valkey.
        database_url: The database's address, bypassing the proxy.
        redis_url: Valkey's address, bypassing the proxy.
        service: The service that runs on the databases.
    """

    service: AgentService

    def __init__(self, background: Background, folder: Path, exits: ExitStack) -> None:
        self._background = background
        self._folder = folder
        state = StageState("faults")
        state.folder = folder
        self._postgres, found_by = postgres(state, os.environ)
        self._start(self._postgres, exits)
        databases = exits.enter_context(closing(Databases(found_by["DATABASE_URL"])))
        self.database_url = exits.enter_context(databases.migrated("project4_agent_api"))
        with psycopg.connect(self.database_url) as connection:
            connection.execute(WATCH_ENDS)
        self._valkey, found_by = valkey(state, os.environ)
        self._start(self._valkey, exits)
        self.redis_url = found_by["REDIS_URL"]
        self.database, self.redis = (Proxy(background, urlsplit(url).port or 0) for url in self.urls)
        exits.callback(self.database.close)
        exits.callback(self.redis.close)

    @property
    def urls(self) -> tuple[str, str]:
        return self.database_url, self.redis_url

    def _start(self, child: Child, exits: ExitStack) -> None:
        self._background.run(child.start())
        exits.callback(lambda: self._background.run(child.stop()))

    def restart_postgres(self) -> None:
        """End it as an operator does, with all sessions, and start it again."""
        self._background.run(self._postgres.stop())
        self._background.run(self._postgres.start())

    def restart_valkey_empty(self) -> None:
        """Kill it, delete all that it knew, and start it again."""
        assert self._valkey.pid
        os.kill(self._valkey.pid, signal.SIGKILL)
        self._background.run(self._valkey.stop())
        shutil.rmtree(self._folder / "valkey" / "appendonlydir")
        self._background.run(self._valkey.start())

    def kill_worker(self) -> None:
        """Kill a worker: it cannot do anything about it."""
        _kill(self.service.workers.pop(0))

    def kill_api(self) -> None:
        """Kill the API process. `service.replace_api` starts another."""
        assert self.service.api
        _kill(self.service.api)

    def rows(self, statement: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        """Ask the database."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(statement, parameters).fetchall()

    def wait_for(self, statement: LiteralString) -> None:
        """Return when a statement gives no rows."""
        deadline = monotonic() + 60
        while rows := self.rows(statement):
            assert monotonic() < deadline, rows
            sleep(0.1)

    def open_redis(self) -> Redis:
        """Connect to Valkey, bypassing the proxy."""
        return Redis.from_url(self.redis_url)

    def is_heard(self, channel: str) -> bool:
        """Return whether an API process is subscribed to a channel."""
        name = f"{make_url(self.database_url).database}:{channel}"
        with self.open_redis() as redis:
            return bool(redis.pubsub_numsub(name)[0][1])

    def end_and_say_nothing(self, values: dict[str, Any]) -> None:
        """Store an end of all runs that are not over, as a worker does that dies before it can say it."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(_END, {"values": Jsonb(values)})

    def audit(self) -> None:
        """Make sure that nothing stays behind: no run that is not over, none that ended twice."""
        unfinished = self.rows("SELECT run_id, status FROM runs WHERE status IN ('pending', 'running')")
        assert unfinished == []
        assert self.rows("SELECT run_id, count(*) FROM ends GROUP BY run_id HAVING count(*) > 1") == []
        assert self.rows("SELECT run_id FROM runs WHERE run_id NOT IN (SELECT run_id FROM ends)") == []
        assert self.rows("SELECT thread_id FROM threads WHERE status = 'busy'") == []
        assert self.rows(_ORPHANS) == []
        with self.open_redis() as redis:
            assert [key for key in redis.scan_iter("*:run:*") if redis.ttl(key) < 0] == []


class PooledStack(Stack):
    """The same behind PgBouncer in transaction mode, with a primary and a replica of Valkey that a Sentinel watches.

    Attributes:
        group: The servers of Redis.
        pooled_url: The database's address at PgBouncer, whose connections to PostgreSQL go through the proxy.
    """

    def __init__(self, background: Background, folder: Path, exits: ExitStack) -> None:
        super().__init__(background, folder, exits)
        self.group = exits.enter_context(sentinel_group(background, _folder(folder, "group")))
        proxied = _port(self.database_url, self.database.port)
        self.pooled_url = exits.enter_context(pgbouncer(background, _folder(folder, "pooler"), proxied))

    def open_redis(self) -> Redis:
        """Connect to the current primary."""
        assert self.group.open_primary
        return self.group.open_primary()

    def fail_over_redis(self) -> None:
        """Kill the primary of Redis, and start it again as a replica of the other server."""
        assert self.group.fail_over
        self.group.fail_over()


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    (parent / name).chmod(0o755)  # PgBouncer does not run as root
    return parent / name


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


_SETTINGS = {
    "lease_seconds": f"{LEASE_SECONDS}",
    "run_attempts": "3",
    "run_blocking_seconds": "8",
    "run_events_kb": "4096",
    "sign_ins_per_minute": "10000",
    "worker_concurrency": "10",
    "user_runs_running_max": "10",
}


@contextmanager
def running_stack(folder: Path, model: ScriptedModel, **settings: str) -> Iterator[Stack]:
    """Run all of it while the block runs."""
    with _background() as (background, exits):
        stack = Stack(background, folder, exits)
        urls = _port(stack.database_url, stack.database.port), _port(stack.redis_url, stack.redis.port)
        stack.service = exits.enter_context(agent_service(*urls, model, GRAPHS, **(_SETTINGS | settings)))
        yield stack


@contextmanager
def running_pooled_stack(folder: Path, model: ScriptedModel, **settings: str) -> Iterator[PooledStack]:
    """Run the stack behind a pooler, with a Sentinel, while the block runs."""
    with _background() as (background, exits):
        stack = PooledStack(background, folder, exits)
        session = _port(stack.database_url, stack.database.port)
        beyond = {"database_session_url": session, "redis_prefix": PREFIX, **_SETTINGS, **settings}
        stack.service = exits.enter_context(agent_service(stack.pooled_url, stack.group.url, model, GRAPHS, **beyond))
        yield stack


@contextmanager
def _background() -> Iterator[tuple[Background, ExitStack]]:
    with ExitStack() as exits:
        background = Background()
        exits.callback(background.close)
        yield background, exits
