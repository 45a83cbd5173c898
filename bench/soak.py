"""`python -m bench.soak [--pooled] [--minutes 30]`: mixed traffic with a fault every minute, then an audit of the data.

The servers and the faults are those of the fault suite (`tests/faults/stack.py`). With `--pooled` the service reaches
PostgreSQL through PgBouncer, and Redis through a Sentinel, and Redis fails over instead of restarting empty. Prints
figures, and exits with status 1 if the data is inconsistent: a run that was accepted and has not finished, one that
ended twice, a checkpoint without its thread, a key in Redis that never expires.
"""

import argparse
import asyncio
import itertools
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import httpx2
import psutil

from tests.faults.stack import LEASE_SECONDS, PooledStack, Stack, running_pooled_stack, running_stack
from tests.support.scripted_model import ScriptedModel

_USERS, _CLIENTS = 4, 8
_SECONDS_TO_SETTLE = 120
_CONNECTIONS = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
_SAID = {"messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Soak:
    """The requests of a soak test and their results.

    Attributes:
        accepted: The accepted runs on threads that are kept; all of them must exist at the end.
        answers: Number of responses by status, or by exception.
        streams: Number of streams that ended.
        samples: Memory and connections, by minute.
    """

    stack: Stack
    accepted: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, float]] = field(default_factory=list)
    over: bool = False

    async def ask(self, headers: dict[str, str], random: Random) -> None:
        """Send one request after another, like a user who continues after any error."""
        client = httpx2.AsyncClient(base_url=self.stack.service.url, headers=headers, timeout=60, trust_env=False)
        async with client as http:
            kinds = [self._wait, self._stream, self._leave, self._cancel, self._stateless]
            while not self.over:
                try:
                    status = await random.choice(kinds)(http)
                except httpx2.TransportError as error:
                    self.answers[type(error).__name__] += 1
                    await asyncio.sleep(1)
                else:
                    self.answers[str(status)] += 1
                    if status != 200:
                        await asyncio.sleep(1)

    async def _run(self, http: httpx2.AsyncClient, then: str, **body: Any) -> httpx2.Response:
        thread = await http.post("/threads", json={})
        if thread.status_code != 200:
            return thread
        answer = await http.post(f"/threads/{thread.json()['thread_id']}/runs{then}", json=body)
        if answer.status_code == 200:
            self.accepted.add(answer.headers["Content-Location"].rpartition("/")[2])
        return answer

    async def _wait(self, http: httpx2.AsyncClient) -> int:
        return (await self._run(http, "/wait", assistant_id="talk", input=_SAID)).status_code

    async def _stream(self, http: httpx2.AsyncClient) -> int:
        work = {"steps": 5, "seconds": 0.1, "log": "/dev/null"}
        run = await self._run(http, "/stream", assistant_id="steps", input=work, stream_mode="custom")
        if run.status_code == 200:
            self.streams["whole" if '"step":4' in run.text else "without the last event"] += 1
        return run.status_code

    async def _leave(self, http: httpx2.AsyncClient) -> int:
        return (await self._run(http, "", assistant_id="talk", input=_SAID)).status_code

    async def _cancel(self, http: httpx2.AsyncClient) -> int:
        work = {"steps": 50, "seconds": 0.1, "log": "/dev/null"}
        run = await self._run(http, "", assistant_id="steps", input=work)
        if run.status_code == 200:
            await asyncio.sleep(0.3)
            await http.post(f"{run.headers['Content-Location']}/cancel", params={"wait": True})
        return run.status_code

    async def _stateless(self, http: httpx2.AsyncClient) -> int:
        return (await http.post("/runs/wait", json={"assistant_id": "talk", "input": _SAID})).status_code

    def sample(self, minute: float) -> None:
        """Record memory and connections."""
        service = self.stack.service
        workers = [psutil.Process(worker.pid).memory_info().rss / 1e6 for worker in service.workers]
        (database,) = self.stack.rows(_CONNECTIONS)
        with self.stack.open_redis() as redis:
            used, clients = redis.info("memory")["used_memory"], redis.info("clients")["connected_clients"]
        api = psutil.Process(service.api.pid).memory_info().rss / 1e6 if service.api else 0
        self.samples.append(
            {
                "minute": minute,
                "API, MB": api,
                "workers, MB": sum(workers) / len(workers),
                "connections to PostgreSQL": database["n"],
                "Redis, MB": used / 1e6,
                "connections to Redis": clients,
            }
        )


def faults(stack: Stack) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the faults one after another, endlessly."""

    def kill_worker() -> None:
        stack.kill_worker()
        stack.service.start_worker()

    def kill_api() -> None:
        stack.kill_api()
        stack.service.replace_api()

    def freeze_worker() -> None:
        stack.service.workers[0].send_signal(signal.SIGSTOP)
        sleep(2 * LEASE_SECONDS)
        stack.service.workers[0].send_signal(signal.SIGCONT)

    def cut_off() -> None:
        with ExitStack() as outage:
            outage.enter_context(stack.database.refusing())
            outage.enter_context(stack.redis.stalling())
            sleep(5)

    if isinstance(stack, PooledStack):
        redis_fault = ("Redis fails over", stack.fail_over_redis)
    else:
        redis_fault = ("Redis restarts empty", stack.restart_valkey_empty)
    return itertools.cycle(
        [
            ("a worker is killed", kill_worker),
            redis_fault,
            ("a worker is frozen", freeze_worker),
            ("PostgreSQL restarts", stack.restart_postgres),
            ("the API is killed", kill_api),
            ("both servers are cut off", cut_off),
        ]
    )


async def soak(stack: Stack, minutes: float, every: float) -> Soak:
    """Keep the service busy, and inject a fault at regular intervals."""
    done = Soak(stack)
    started = monotonic()
    users = [stack.service.sign_up() for _ in range(_USERS)]
    asking = [asyncio.create_task(done.ask(users[number % _USERS], Random(number))) for number in range(_CLIENTS)]  # noqa: S311  no secret
    for name, fault in faults(stack):
        await asyncio.sleep(every)
        minute = (monotonic() - started) / 60
        await asyncio.to_thread(done.sample, minute)
        if minute >= minutes:
            break
        print(f"minute {minute:.1f}: {len(done.accepted):,} runs so far; {name}", flush=True)
        await asyncio.to_thread(fault)
    done.over = True
    await asyncio.wait(asking)
    return done


def audit(done: Soak) -> list[str]:
    """Return the inconsistencies."""
    stack = done.stack
    deadline = monotonic() + _SECONDS_TO_SETTLE
    while stack.rows("SELECT FROM runs WHERE status IN ('pending', 'running')") and monotonic() < deadline:
        sleep(0.5)
    wrong = []
    try:
        stack.audit()
    except AssertionError as error:
        wrong.append(f"the audit failed: {error}")
    rows = {str(row["run_id"]): row["status"] for row in stack.rows("SELECT run_id, status FROM runs")}
    if lost := done.accepted - set(rows):
        wrong.append(f"{len(lost)} accepted runs do not exist")
    print("how the runs ended:", dict(Counter(rows.values())))
    print("how requests were answered:", dict(done.answers))
    print("how streams ended:", dict(done.streams))
    print(f"{len(done.accepted):,} runs were accepted on threads of their users; none lost: {not lost}")
    for what in list(done.samples[0])[1:]:
        print(f"{what}: " + ", ".join(f"{one[what]:.0f}" for one in done.samples))
    return wrong


def main() -> None:
    """Run the soak test."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description="Mixed traffic with faults, then an audit."
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="seconds between two faults")
    parser.add_argument("--pooled", action="store_true", help="with PgBouncer and a Sentinel in between")
    arguments = parser.parse_args()
    run_stack = running_pooled_stack if arguments.pooled else running_stack
    model = ScriptedModel()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            run_stack(
                Path(folder),
                model,
                log_level="ERROR",
                run_attempts="20",
                access_token_minutes="1440",  # noqa: S106  no password
            ) as stack,
        ):
            stack.service.start_worker()
            wrong = audit(asyncio.run(soak(stack, arguments.minutes, arguments.every)))
    finally:
        model.close()
    print("\n".join(wrong) or "all data is consistent")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
