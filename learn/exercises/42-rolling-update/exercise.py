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
    # TODO: for each old replica: start a new one and wait until it is ready; only then drain the old one, then stop it
    #       对每个旧副本：启动一个新副本并等它就绪，然后才排空旧副本，再停掉它
    # TODO: stop a new replica that does not become ready, and raise: the old one has served all the time
    #       新副本没有就绪时停掉它并抛出异常：旧副本一直在提供服务
    for replica in old:
        await replica.stop()
    return [await cluster.start(version) for _ in old]
