"""Two PostgreSQL servers with synchronous streaming replication, either of which can be the primary."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any, LiteralString
from urllib.parse import SplitResult, urlsplit

import psutil
import psycopg
from psycopg.rows import dict_row

from local.services import _postgres_programs, postgres
from local.state import StageState
from tests.support.proxy import Background

DATABASE = "failover"


class Server:
    """One of the servers.

    Args:
        background: The event loop that its process belongs to.
        folder: Parent of its data.
        of: The server whose standby it will be; by default, it gets an empty database cluster.

    Attributes:
        url: Address of the database. The port stays the same when the server is started again.
    """

    def __init__(self, background: Background, folder: Path, of: "Server | None" = None) -> None:
        self._background = background
        self._data = folder / "postgres"
        folder.mkdir()
        if of:
            self._data.mkdir()
            (folder / "postgres-password").write_text(of.place.password or "")
        state = StageState("replication")
        state.folder = folder
        self._child, found_by = postgres(state, os.environ)
        self._server_url = found_by["DATABASE_URL"]
        self.place: SplitResult = urlsplit(self._server_url)
        self.url = self.place._replace(path=f"/{DATABASE}").geturl()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._background.run(self._child.start())

    def stop(self) -> None:
        """Stop it, as an operator does."""
        self._background.run(self._child.stop())

    def kill(self) -> None:
        """Kill all of its processes."""
        for process in self.processes():
            process.kill()
        self._background.run(self._child.stop())

    def processes(self) -> list[psutil.Process]:
        """Return the processes that run now."""
        assert self._child.pid
        postmaster = psutil.Process(self._child.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def become_standby_of(self, primary: "Server") -> None:
        """Replace all data by a base backup of the primary, and stream its changes."""
        shutil.rmtree(self._data)
        source = f"{primary._server_url}?application_name=standby"
        guard = [sys.executable, "-m", "local.child", str(int(signal.SIGTERM)), str(os.getpid()), "--not-root"]
        command = [str(_postgres_programs() / "pg_basebackup"), "-D", str(self._data), "-d", source]
        subprocess.run([*guard, *command, "-R", "-X", "stream", "-c", "fast", "--no-sync"], check=True)
        self.start()
        # Commits wait for the standby from now on.
        primary.set("synchronous_standby_names", "standby")
        primary.wait_for("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'")

    def promote(self) -> None:
        """Make this standby the primary. It has no standby then, for which commits would wait."""
        self.execute("SELECT pg_promote()")

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: LiteralString) -> None:
        """Execute a statement as the superuser."""
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(statement)

    def rows(self, statement: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        """Query the database."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(statement, parameters).fetchall()

    def wait_for(self, statement: LiteralString) -> None:
        """Return when a query has rows."""
        deadline = monotonic() + 60
        while not self.rows(statement):
            assert monotonic() < deadline, statement
            sleep(0.05)
