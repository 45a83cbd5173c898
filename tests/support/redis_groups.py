"""Groups of real Valkeys: a primary and a replica with a Sentinel, and a cluster. Each can lose its primary."""

import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from local.processes import Child
from local.services import _valkey_program
from tests.support.proxy import Background

PREFIX = "service"
_SLOTS = 16384
ACL = "~{keys}:* &{keys}:* +@all -@admin -@dangerous"  # rights of the service's user, as docs/deploy.md has them


@dataclass
class Group:
    """Servers of one group.

    Attributes:
        url: Address of the group, with the service's user.
        primary: The server that is the primary at first.
        fail_over: Kills the current primary, and starts it again as a replica; only of a group with a Sentinel.
        open_primary: Connects to the current primary; likewise.
    """

    url: str
    primary: Child
    primary_is_replaced: Callable[[], bool]
    fail_over: Callable[[], None] | None = None
    open_primary: Callable[[], Redis] | None = None

    def lose_primary(self) -> None:
        """Kill the primary, and wait until its replica is promoted."""
        assert self.primary.pid
        os.kill(self.primary.pid, signal.SIGKILL)
        _wait(self.primary_is_replaced)


@dataclass
class _Servers:
    background: Background
    folder: Path
    exits: ExitStack
    keys: str
    password: str = field(default_factory=secrets.token_urlsafe)
    ports: list[int] = field(default_factory=list)

    def start(self, *lines: str, sentinel: bool = False) -> Child:
        """Start a server, and return when it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        number = len(self.ports)
        folder = self.folder / str(number)
        folder.mkdir()
        settings = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"requirepass {self.password}", *lines]
        if not sentinel:
            user = f"user {PREFIX} on >{self.password} {ACL.format(keys=self.keys)}"
            settings += [f"masterauth {self.password}", 'save ""', "repl-diskless-sync-delay 0", user]
        file = folder / "valkey.conf"
        file.write_text("\n".join(settings))
        child = Child(
            name=f"Valkey {number}",
            command=[str(_valkey_program()), str(file), *(["--sentinel"] if sentinel else [])],
            environment=os.environ,
            log=folder / "log",
            is_ready=lambda: self._answers(port),
        )
        self.ports.append(port)
        self.background.run(child.start())
        self.exits.callback(lambda: self.background.run(child.stop()))
        return child

    def ask(self, number: int, *command: str) -> str:
        """Send a command to a server as its administrator, and return the text of the answer."""
        with Redis(port=self.ports[number], password=self.password, decode_responses=True) as server:
            return str(server.execute_command(*command))

    def is_in_step(self, replica: int) -> bool:
        """Return whether a replica has all data of its primary."""
        return "connected" in self.ask(replica, "ROLE")

    async def _answers(self, port: int) -> bool:
        try:
            with Redis(port=port, password=self.password, socket_timeout=2) as server:
                return bool(server.ping())
        except RedisError:
            return False


@contextmanager
def sentinel_group(background: Background, folder: Path) -> Iterator[Group]:
    """Run a primary and a replica, which a Sentinel watches."""
    with ExitStack() as exits:
        servers = _Servers(background, folder, exits, PREFIX)
        primary = servers.start()
        replica = servers.start(f"replicaof 127.0.0.1 {servers.ports[0]}")
        watched = [f"main 127.0.0.1 {servers.ports[0]} 1"]
        servers.start(
            f"sentinel monitor {watched[0]}",
            f"sentinel auth-pass main {servers.password}",
            "sentinel down-after-milliseconds main 1000",
            "sentinel failover-timeout main 10000",
            sentinel=True,
        )
        _wait(lambda: servers.is_in_step(1))
        _wait(lambda: str(servers.ports[1]) in servers.ask(2, "SENTINEL", "REPLICAS", "main"))

        def is_replaced() -> bool:
            return str(servers.ports[1]) in servers.ask(2, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")

        def current() -> int:
            return servers.ports.index(int(servers.ask(2, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main").split("'")[3]))

        def fail_over() -> None:
            lost = current()
            child = (primary, replica)[lost]
            assert child.pid
            os.kill(child.pid, signal.SIGKILL)
            _wait(lambda: current() != lost)
            background.run(child.stop())
            background.run(child.start())
            _wait(lambda: servers.is_in_step(lost))

        def open_primary() -> Redis:
            return Redis(port=servers.ports[current()], password=servers.password)

        password = servers.password
        url = f"redis+sentinel://{PREFIX}:{password}@127.0.0.1:{servers.ports[2]}/main?sentinel_password={password}"
        yield Group(url, primary, is_replaced, fail_over, open_primary)


@contextmanager
def cluster(background: Background, folder: Path) -> Iterator[Group]:
    """Run a cluster of three primaries, of which the one with the service's keys has a replica."""
    with ExitStack() as exits:
        servers = _Servers(background, folder, exits, f"{{{PREFIX}}}")
        options = ("cluster-enabled yes", "cluster-node-timeout 1000", "cluster-require-full-coverage no")
        primary, *_ = [servers.start(*options) for _ in range(4)]
        slot = key_slot(f"{{{PREFIX}}}".encode())
        of_others = [(slot + 1) % _SLOTS, (slot + 2) % _SLOTS]
        own = (str(each) for each in range(_SLOTS) if each not in of_others)
        servers.ask(0, "CLUSTER", "ADDSLOTS", *own)
        for number, each in enumerate(of_others, 1):
            servers.ask(number, "CLUSTER", "ADDSLOTS", str(each))
        for number in (1, 2, 3):
            servers.ask(number, "CLUSTER", "MEET", "127.0.0.1", str(servers.ports[0]))
        _wait(lambda: all("cluster_known_nodes:4" in servers.ask(number, "CLUSTER", "INFO") for number in range(4)))
        servers.ask(3, "CLUSTER", "REPLICATE", servers.ask(0, "CLUSTER", "MYID"))
        _wait(lambda: all("cluster_state:ok" in servers.ask(number, "CLUSTER", "INFO") for number in range(4)))
        _wait(lambda: servers.is_in_step(3))

        def is_replaced() -> bool:
            return "master" in servers.ask(3, "ROLE")

        places = ",".join(f"127.0.0.1:{port}" for port in servers.ports[1:3])
        yield Group(f"redis+cluster://{PREFIX}:{servers.password}@{places}", primary, is_replaced)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)
