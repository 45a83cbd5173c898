"""Measure throughput and latency of several servers, in rounds in which they take turns."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

from bench.client import Connection
from bench.report import percentile
from bench.servers import Server

CONNECTIONS = 16


@dataclass
class Times:
    """Response times in milliseconds, by round."""

    rounds: list[list[float]] = field(default_factory=list)

    def percentile(self, percent: float) -> float:
        """Return a percentile over all rounds."""
        return percentile([time for times in self.rounds for time in times], percent)

    def pair(self, percent: float, digits: int) -> str:
        """Return p50 and another percentile as text."""
        return f"{self.percentile(50):.{digits}f} / {self.percentile(percent):.{digits}f}"

    def ratio_to(self, other: "Times", percent: float) -> float:
        """Return the median of the rounds' ratios of percentiles."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return median(percentile(mine, percent) / percentile(theirs, percent) for mine, theirs in pairs)


@dataclass
class Rate:
    """The throughput of one server by round, and its CPU time over all rounds."""

    per_second: list[float] = field(default_factory=list)
    times: Times = field(default_factory=Times)
    requests: int = 0
    cpu_seconds: float = 0

    @property
    def cpu_ms(self) -> float:
        """CPU time of the server per request."""
        return self.cpu_seconds / self.requests * 1000

    def ratio_to(self, other: "Rate") -> float:
        """Return the median of the rounds' ratios: a slow moment of the machine affects both values of a round."""
        return median(mine / theirs for mine, theirs in zip(self.per_second, other.per_second, strict=True))


async def rates_of(
    servers: Mapping[str, Server], requests: Iterable[bytes], *, rounds: int, seconds: float, connections: int
) -> dict[str, Rate]:
    """Measure the servers in turn, round after round; the first round is a warm-up and does not count.

    Args:
        servers: By the names under which their rates are returned.
        requests: An endless iterable; each request is sent once.
        seconds: Duration of a server's turn; requests in flight at its end are completed.
        connections: Persistent connections, each with one request at a time.
    """
    endless = iter(requests)
    for server in servers.values():
        await ask_for(seconds, server, endless, Rate(), connections=connections)
    rates = {name: Rate() for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            await ask_for(seconds, server, endless, rates[name], connections=connections)
    return rates


async def ask_for(seconds: float, server: Server, requests: Iterator[bytes], rate: Rate, *, connections: int) -> None:
    """Send requests to one server for one round, and add the results to its rate."""
    opened = [await Connection.open(server.port) for _ in range(connections)]
    times: list[float] = []
    cpu_before = server.cpu_seconds()
    started = perf_counter()

    async def keep_asking(connection: Connection) -> None:
        asked = perf_counter()
        while asked - started < seconds:
            await connection.exchange(next(requests))
            answered = perf_counter()
            times.append((answered - asked) * 1000)
            asked = answered

    await asyncio.gather(*map(keep_asking, opened))
    rate.per_second.append(len(times) / (perf_counter() - started))
    rate.cpu_seconds += server.cpu_seconds() - cpu_before
    rate.requests += len(times)
    rate.times.rounds.append(times)
    for connection in opened:
        connection.close()
