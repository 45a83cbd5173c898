"""Runs the conformance suite against LangGraph's own development server: `python -m tests.conformance.reference`.

The server lives in a virtual environment apart, under `.data/reference`; nothing of the project depends on it. It looks
for new runs twice a second only, so the suite's modules run side by side against it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.launched import free_port

# The one that the suite's `reference_differs` marks speak of.
REFERENCE = ["langgraph-cli[inmem]==0.4.40", "langgraph-api==0.16.7", "langgraph-runtime-inmem==0.36.7"]

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).parent
FOLDER = ROOT / ".data" / "reference"
SIDE_BY_SIDE = 6
SECONDS = 120  # until a server that does not start is taken for broken


def main(arguments: list[str]) -> int:
    """Install the server where it is not yet, start it, run the suite against it; return the tests' exit status.

    Arguments are passed to pytest.
    """
    _install()
    _copy_graphs()
    with _served() as url:
        # What ends every run on the server cannot run beside anything.
        alone = SUITE / "test_everyone.py"
        others = [path for path in SUITE.rglob("test_*.py") if path != alone]
        largest_first = sorted(others, key=lambda path: -path.stat().st_size)
        hands = [largest_first[first::SIDE_BY_SIDE] for first in range(SIDE_BY_SIDE)]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            statuses = list(pool.map(lambda modules: _tested(modules, url, arguments), hands))
        statuses.append(_tested([alone], url, arguments))
    nothing_selected = 5
    return max(status for status in statuses if status != nothing_selected)


def _install() -> None:
    wanted = "\n".join(REFERENCE)
    installed = FOLDER / "installed"
    if installed.exists() and installed.read_text() == wanted:
        return
    print(f"Installing LangGraph's development server into {FOLDER} ...", flush=True)  # noqa: T201  a command
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER / "venv", with_pip=True)
    python = FOLDER / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REFERENCE], check=True)
    installed.write_text(wanted)


def _copy_graphs() -> None:
    """Copy the graphs: the server keeps files beside them, and needs permission to call this machine."""
    graphs = FOLDER / "graphs"
    shutil.rmtree(graphs, ignore_errors=True)
    shutil.copytree(SUITE / "graphs", graphs)
    config = graphs / "langgraph.json"
    webhooks = {"url": {"disable_loopback": False, "require_https": False}}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"webhooks": webhooks}))


@contextmanager
def _served() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(FOLDER / "venv" / "bin" / "langgraph"), "dev", "--no-browser", "--no-reload", "--port", str(port)]
    environment = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "CRON_SCHEDULER_SLEEP_TIME": "1"}
    log = FOLDER / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--n-jobs-per-worker", "20"],
            cwd=FOLDER / "graphs",
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # it waits for the runs that it leaves busy
                process.kill()
                process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    with httpx2.Client(trust_env=False) as http:
        while True:
            try:
                if http.get(f"{url}/ok").is_success:
                    return
            except httpx2.TransportError:
                time.sleep(0.1)
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"error: the development server did not start; it said:\n{log.read_text()}")


def _tested(modules: list[Path], url: str, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *map(str, modules), *arguments]
    # At its end each pytest deletes old folders of all the others, except in a folder of its own.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ended = subprocess.run(
            [*command, "--basetemp", f"{folder}/pytest"],
            cwd=ROOT,
            env=os.environ | {"CONFORMANCE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
    print(f"{' '.join(module.stem for module in modules)}\n{ended.stdout}{ended.stderr}", flush=True)  # noqa: T201  a command
    return ended.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
