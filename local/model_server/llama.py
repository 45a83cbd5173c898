"""llama.cpp within this process: each model has its own llama.cpp HTTP server on a loopback port."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import httpx2
import xllamacpp
from starlette.concurrency import run_in_threadpool

_CONTEXT = 8192  # tokens: the training context of SmolLM2 (Qwen2.5 has more), shared by concurrent requests
_PARALLEL = 4
_PROMPT_CACHE_MIB = 256  # for prompts of earlier requests; llama.cpp would use 8 GiB
_MAX_ANSWER_TOKENS = 512  # default of requests without `max_tokens`


def server_params(name: str, gguf: Path) -> xllamacpp.CommonParams:
    """Return the parameters of an `xllamacpp.Server` for any model on a free loopback port.

    Args:
        name: Name of the model in answers.
        gguf: Weights of the model.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.verbosity = 1
    params.fit_params = False  # it would load each model twice, to measure first whether one this small fits a GPU
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads()
    return params


def chat_params(name: str, gguf: Path) -> xllamacpp.CommonParams:
    """Return the parameters of a language model; see `server_params`."""
    params = server_params(name, gguf)
    params.n_ctx = _CONTEXT
    params.n_parallel = _PARALLEL
    params.kv_unified = True
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    # The first two are recommended by the model's authors. Values in a request take precedence over all of these.
    params.sampling.temp = 0.2
    params.sampling.top_p = 0.9
    # A model of this size easily repeats itself until its context is full.
    params.sampling.penalty_repeat = 1.1
    params.n_predict = _MAX_ANSWER_TOKENS
    return params


def threads() -> int:
    """Return half of the cores that this process may use.

    llama.cpp's threads synchronize at every layer, so a thread that shares its core slows down all of them. Measured on
    two cores, in tokens a second: two threads 121 on an idle machine, and 2 beside a program that uses both cores; one
    thread 71 and 53.
    """
    # macOS has no CPU affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


class Llama:
    """A context manager for a model that is loaded on first use, and a client of its server.

    Args:
        params: Returns the parameters; called in a thread, because it may have to prepare the weights.
    """

    def __init__(self, params: Callable[[], xllamacpp.CommonParams]) -> None:
        self._params = params
        self._loading: asyncio.Task[httpx2.AsyncClient] | None = None
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Return without loading the model."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the client; the server ends with this object."""
        if self._loading:
            await asyncio.wait([self._loading])
        await self._closing.aclose()

    async def client(self) -> httpx2.AsyncClient:
        """Return a client of the running server; the first call takes a second or two.

        Loading goes on if the caller is cancelled. A server that is dropped as soon as it has started would block the
        process for good: xllamacpp's destructor waits for a thread that has missed its stop.
        """
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> httpx2.AsyncClient:
        self._server = await run_in_threadpool(lambda: xllamacpp.Server(self._params()))
        # No limit for an answer: it is cancelled when its client disconnects.
        timeout = httpx2.Timeout(None, connect=5)
        limits = httpx2.Limits(max_connections=None)
        address = self._server.listening_address
        return await self._closing.enter_async_context(
            httpx2.AsyncClient(base_url=address, timeout=timeout, limits=limits, trust_env=False)
        )
