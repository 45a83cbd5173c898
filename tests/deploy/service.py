"""The deployed service, used as its clients and its operators use it."""

import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from deploy.stack import ROOT, DeployError, Stack
from tests.support.accounts import PASSWORD

READY_SECONDS = 180


@dataclass
class Service:
    """A running service.

    Attributes:
        stack: Containers of the service.
        url: The proxy's base URL.
        env_file: The file with its settings.
    """

    stack: Stack
    url: str
    env_file: Path

    def make(self, target: str, *arguments: str) -> str:
        """Run one of the Makefile's targets, and return its output; it must succeed."""
        done = self.tried(target, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tried(self, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the Makefile's targets."""
        done = subprocess.run(
            ["make", "--no-print-directory", target, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        print(done.stdout, done.stderr)  # noqa: T201  it is shown where the test fails
        return done

    def client(self, headers: dict[str, str] | None = None) -> httpx2.Client:
        """Make a client of the proxy."""
        return httpx2.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False)

    def sign_up(self, email: str = "") -> dict[str, str]:
        """Make an account and sign in; returns the headers that show it."""
        email = email or f"{uuid.uuid4()}@example.com"
        with self.client() as http:
            account = {"email": email, "name": "Ada", "password": PASSWORD}
            http.post("/auth/register", json=account).raise_for_status()
        return self.sign_in(email)

    def sign_in(self, email: str) -> dict[str, str]:
        """Sign in; returns the headers that show it."""
        with self.client() as http:
            answer = http.post("/auth/token", data={"username": email, "password": PASSWORD}).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def ask_agent(self, http: httpx2.Client, thread: str, question: str) -> str:
        """Wait for a run on a thread; returns the last message of its state."""
        asked = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": question}]}}
        answer = http.post(f"/threads/{thread}/runs/wait", json=asked).raise_for_status().json()
        return str(answer["messages"][-1]["content"])

    def upload(self, http: httpx2.Client, file: Path) -> str:
        """Upload a document and wait until it can be searched; returns its id."""
        with file.open("rb") as content:
            made = http.post("/documents", files={"file": (file.name, content)}).raise_for_status()
        document = str(made.json()["id"])
        eventually(lambda: http.get(f"/documents/{document}").raise_for_status().json()["status"] == "ready")
        return document

    def query(self, sql: str) -> str:
        """Ask the database."""
        script = 'PGPASSWORD="$POSTGRES_PASSWORD" exec psql -h 127.0.0.1 -U app -d app -Atc "$1"'
        return self.stack.engine("exec", self.stack.only("postgres"), "sh", "-c", script, "sh", sql)

    def wait_until_ready(self) -> None:
        """Wait until the service says that it is ready, on any replica."""

        def ready() -> bool:
            try:
                with self.client() as http:
                    return http.get("/ready").is_success
            except httpx2.HTTPError:
                return False

        eventually(ready)

    def destroy(self) -> None:
        """Remove every container, network and volume."""
        for service in ("api", "worker"):  # podman-compose would leave those that have been added
            if containers := self.stack.ids(service, stopped_too=True):
                self.stack.engine("rm", "-f", *containers)
        self.stack.composed("down", "-v", "-t", "5")


def eventually(holds: Any) -> None:  # noqa: ANN401  any condition
    """Look again until something holds."""
    deadline = time.monotonic() + READY_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.5)


def running(stack: Stack, service: str) -> int:
    """Count the containers of a service that are ready."""
    count = 0
    for container in stack.ids(service):
        try:
            stack.engine("exec", container, "python", "-m", "shared.healthcheck")
        except DeployError:
            continue
        count += 1
    return count
