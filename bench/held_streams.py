"""Measure the cost of open streams in a deployment: `python -m bench.held_streams URL --api PID … --worker PID …`.

Each stream is a run of the agent whose model sends words at a fixed pace (`N words, G ms apart`, which the stack of
`make test-deploy` understands). Measures the CPU time of the given processes while all streams are open, and the growth
of their memory, both per stream. Prints the results; writes nothing.
"""

import argparse
import asyncio
import uuid
from collections.abc import Sequence
from time import monotonic

import httpx2
import psutil

_STREAMS_OF_ONE = 10  # account, because the runs of a user are limited
_PASSWORD = "correct horse battery staple"  # noqa: S105  of an account that this benchmark creates


async def main() -> None:
    """Open the streams, measure for a while, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.held_streams", description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--api", type=int, nargs="+", required=True, help="process ids")
    parser.add_argument("--worker", type=int, nargs="+", required=True, help="process ids")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--gap-ms", type=int, default=1000, help="milliseconds between two words")
    parser.add_argument("--seconds", type=float, default=20, help="duration of the measurement")
    arguments = parser.parse_args()
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=arguments.url, timeout=120, trust_env=False, limits=limits) as http:
        accounts = [await _token(http) for _ in range(0, arguments.streams, _STREAMS_OF_ONE)]
        kinds = {"API": [*map(psutil.Process, arguments.api)], "worker": [*map(psutil.Process, arguments.worker)]}
        empty = {kind: _memory(processes) for kind, processes in kinds.items()}
        words = int((arguments.seconds + 60) * 1000 / arguments.gap_ms)
        question = f"{words} words, {arguments.gap_ms} ms apart"
        heard = [0] * arguments.streams
        streams = [
            asyncio.create_task(_stream(http, accounts[number // _STREAMS_OF_ONE], question, heard, number))
            for number in range(arguments.streams)
        ]
        while not all(heard):  # noqa: ASYNC110  no single event signals it
            await asyncio.sleep(0.5)
        before = {kind: _spent(processes) for kind, processes in kinds.items()}
        spoken, started = sum(heard), monotonic()
        await asyncio.sleep(arguments.seconds)
        seconds, events = monotonic() - started, sum(heard) - spoken
        print(f"{arguments.streams} streams, {events / seconds:.0f} events a second for {seconds:.0f} s")
        for kind, processes in kinds.items():
            busy = _spent(processes) - before[kind]
            held = (_memory(processes) - empty[kind]) / arguments.streams
            print(
                f"{kind} × {len(processes)}: {busy / seconds:.2f} processors, {busy / events * 1e3:.2f} ms an event, "
                f"{held / 1024:.0f} KiB a stream, {empty[kind] / len(processes) / 2**20:.0f} MiB each before"
            )
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)


async def _token(http: httpx2.AsyncClient) -> str:
    email = f"{uuid.uuid4()}@example.com"
    account = {"email": email, "name": "Bench", "password": _PASSWORD}
    (await http.post("/auth/register", json=account)).raise_for_status()
    answer = await http.post("/auth/token", data={"username": email, "password": _PASSWORD})
    return str(answer.raise_for_status().json()["access_token"])


async def _stream(http: httpx2.AsyncClient, token: str, question: str, heard: list[int], number: int) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    thread = (await http.post("/threads", json={}, headers=headers)).raise_for_status().json()["thread_id"]
    asked = {
        "assistant_id": "agent",
        "input": {"messages": [{"role": "user", "content": question}]},
        "stream_mode": "messages-tuple",
        "on_disconnect": "cancel",
    }
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=asked, headers=headers) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            heard[number] += line.startswith("event: messages")


def _spent(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU time of some processes so far, in seconds."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _memory(processes: Sequence[psutil.Process]) -> int:
    """Return the resident memory of some processes, in bytes."""
    return sum(process.memory_info().rss for process in processes)


if __name__ == "__main__":
    asyncio.run(main())
