"""A real PgBouncer in transaction mode, before a PostgreSQL."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.processes import Child
from tests.support.proxy import Background

SERVER_CONNECTIONS = 3
_CONFIGURATION = """
[databases]
* = host={server.hostname} port={server.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 500
"""


@contextmanager
def pgbouncer(background: Background, folder: Path, database_url: str) -> Iterator[str]:
    """Run it while the block runs; gives the address of the database behind it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("NO PGBOUNCER: the service is not tested with it; `apt-get install pgbouncer`")
    server = urlsplit(database_url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    users = folder / "users.txt"
    users.write_text(f'"{server.username}" "{server.password}"\n')
    settings = folder / "pgbouncer.ini"
    settings.write_text(_CONFIGURATION.format(server=server, port=port, users=users, connections=SERVER_CONNECTIONS))

    async def is_ready() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    child = Child(
        name="PgBouncer",
        command=[program, str(settings)],
        environment=os.environ,
        is_ready=is_ready,
        log=folder / "pgbouncer.log",
        drop_root=True,
    )
    background.run(child.start())
    try:
        netloc = f"{server.username}:{server.password}@127.0.0.1:{port}"
        yield server._replace(netloc=netloc, query="pgbouncer=true").geturl()
    finally:
        background.run(child.stop())
