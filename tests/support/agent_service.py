"""Stage 4 as it really runs: an API and a worker, each a process, on one PostgreSQL and one Valkey."""

import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.support.processes import served, serving
from tests.support.scripted_model import ScriptedModel

PACKAGE = "project4_agent_api"
PASSWORD = "correct horse battery staple"


@dataclass
class AgentService:
    """A service that runs.

    Attributes:
        environment: Variables of its processes.
        url: The API's base URL.
        api: The API's process.
        workers: The workers' processes.
        worker_urls: Base URLs of all workers that were started.
    """

    environment: Mapping[str, str]
    url: str = ""
    api: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    worker_urls: list[str] = field(default_factory=list)
    _listening: socket.socket | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Start an API and a worker at once, and return when both answer."""
        self._listening = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.replace_api(until_it_answers=False)
        self.start_worker()
        self._answers(self.url)

    def replace_api(self, *, until_it_answers: bool = True) -> None:
        """Start an API process that replaces one that has ended, on the same socket."""
        assert self._listening
        self.api = self._stack.enter_context(serving(PACKAGE, self.environment, self._listening))
        if until_it_answers:
            self._answers(self.url)

    def start_api(self) -> str:
        """Start an API process more. Returns its URL, when it answers."""
        url, _ = self._stack.enter_context(served(PACKAGE, self.environment))
        self._answers(url)
        return url

    def start_worker(self, **changes: str) -> subprocess.Popen[bytes]:
        """Start a worker, and return when it works. Its environment may differ from that of the others."""
        url, process = self._stack.enter_context(served(PACKAGE, {**self.environment, **changes}, "worker"))
        self.workers.append(process)
        self.worker_urls.append(url)
        self._answers(url)
        return process

    def stop(self) -> None:
        """End all processes in an orderly way."""
        self._stack.close()
        self.api = None
        self.workers.clear()

    def sign_up(self, url: str = "") -> dict[str, str]:
        """Make an account and sign in; returns the headers that show it."""
        email = f"{uuid.uuid4()}@example.com"
        with httpx2.Client(base_url=url or self.url, timeout=120, trust_env=False) as http:
            account = {"email": email, "name": "Ada", "password": PASSWORD}
            http.post("/auth/register", json=account).raise_for_status()
            answer = http.post("/auth/token", data={"username": email, "password": PASSWORD}).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    @staticmethod
    def _answers(url: str) -> None:
        # The socket listens already: this is answered when the process has started.
        httpx2.get(f"{url}/health", timeout=120, trust_env=False).raise_for_status()


@contextmanager
def agent_service(
    database_url: str, redis_url: str, model: ScriptedModel, graphs: Path | None = None, **settings: str
) -> Iterator[AgentService]:
    """Run an API and a worker while the block runs.

    Args:
        database_url: A migrated database.
        redis_url: Address of Redis.
        model: Chat model of both processes.
        graphs: A `langgraph.json`; None for the built-in graphs only.
        settings: Environment variables, in small letters.
    """
    environment = {
        "APP_ENV": "test",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "unused",
        "LLM_MODEL": "m",
        "LLM_MAX_RETRIES": "0",
        "EMBEDDING_MODEL": "e",
        "JWT_SECRET": "a secret of the tests, with more than 32 bytes",
        "RATE_LIMIT_PER_MINUTE": "1000000",
        **({"LANGGRAPH_CONFIG": str(graphs)} if graphs else {}),
        **{name.upper(): value for name, value in settings.items()},
    }
    service = AgentService(environment)
    try:
        service.start()
        yield service
    finally:
        service.stop()
