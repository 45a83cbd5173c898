"""Does what no graph should."""

import asyncio
import os
import signal
import threading
import time
from typing import Any, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph

_MEGABYTE = 1024 * 1024


class State(TypedDict, total=False):
    """The requested fault, and its trace."""

    fault: str
    seconds: float
    megabytes: int
    left: Any


class Locked(ValueError):
    """Holds what cannot be pickled, and cannot be said either."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()

    def __str__(self) -> str:
        """Fail."""
        raise ValueError("nothing can be said of it")


async def misbehave(state: State) -> State:
    """Do it."""
    return await FAULTS[state["fault"]](state)


async def _sleep(state: State) -> State:
    time.sleep(state["seconds"])  # noqa: ASYNC251  that is the fault
    return {"left": "rested"}


async def _spin(state: State) -> State:
    until = time.monotonic() + state["seconds"]
    while time.monotonic() < until:
        pass
    return {"left": "dizzy"}


async def _leak(_: State) -> State:
    kept = []
    while True:
        kept.append(bytearray(16 * _MEGABYTE))
        await asyncio.sleep(0)


async def _recurse(state: State) -> State:
    return await _recurse(state)


async def _raise(_: State) -> State:
    raise Locked


async def _hold_a_lock(_: State) -> State:
    return {"left": threading.Lock()}


async def _say_half(_: State) -> State:
    return {"left": {"half": "\ud800", "nul": "\0", "endless": float("inf")}}


async def _nest(_: State) -> State:
    nested: list[Any] = []
    for _depth in range(5000):
        nested = [nested]
    return {"left": nested}


async def _emit(state: State) -> State:
    write = get_stream_writer()
    for _number in range(state["megabytes"]):
        write({"padding": "x" * _MEGABYTE})
        await asyncio.sleep(0)
    return {"left": "all said"}


async def _emit_at_once(state: State) -> State:
    get_stream_writer()({"padding": "x" * state["megabytes"] * _MEGABYTE})
    return {"left": "all said"}


async def _grow(state: State) -> State:
    return {"left": "x" * state["megabytes"] * _MEGABYTE}


async def _die(_: State) -> State:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


async def _tell_the_time(_: State) -> State:
    return {"left": time.time()}


FAULTS = {
    "sleep": _sleep,
    "spin": _spin,
    "leak": _leak,
    "recurse": _recurse,
    "raise": _raise,
    "lock": _hold_a_lock,
    "half": _say_half,
    "nest": _nest,
    "emit": _emit,
    "emit at once": _emit_at_once,
    "grow": _grow,
    "die": _die,
    "time": _tell_the_time,
}
graph = StateGraph(State).add_node("misbehave", misbehave).add_edge(START, "misbehave").compile()
