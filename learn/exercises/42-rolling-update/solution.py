"""A rolling update: replace each replica of a service without failing a request."""

from collections.abc import Sequence
from typing import Protocol


class Replica(Protocol):
    """A running container."""

    async def wait_until_ready(self) -> bool:
        """Wait until `/ready` answers 200; return False if it did not in time."""

    async def drain(self) -> None:
        """Take it out of the load balancer, and wait until its requests have ended."""

    async def stop(self) -> None:
        """Send SIGTERM, and wait for the end of the process."""


class Cluster(Protocol):
    """Starts containers."""

    async def start(self, version: str) -> Replica:
        """Start a replica of a version. It gets no requests before it is ready."""


async def rolling_update(cluster: Cluster, old: Sequence[Replica], version: str) -> Sequence[Replica]:
    """Replace the old replicas one by one; return those that serve in the end.

    Raises:
        RuntimeError: if a new replica does not become ready. It is stopped, and the others go on serving.
    """
    serving: list[Replica] = []
    for replica in old:
        new = await cluster.start(version)
        if not await new.wait_until_ready():
            await new.stop()
            raise RuntimeError(f"version {version} does not become ready; the old one goes on")
        await replica.drain()
        await replica.stop()
        serving.append(new)
    return serving
