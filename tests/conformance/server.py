"""Starts this project's service as the conformance tests need it: an API and a worker as processes, and an account."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.support.databases import Databases
from tests.support.processes import served
from tests.support.scripted_model import ScriptedModel

PACKAGE = "project4_agent_api"
ROOT = Path(__file__).parents[2]
GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


@dataclass(frozen=True)
class Server:
    """Where a server is, and what each request to it must carry."""

    url: str
    headers: dict[str, str]


@contextmanager
def our_service(databases: Databases, model: ScriptedModel) -> Iterator[Server]:
    """Run an API and a worker on a database of their own while the block runs, with an account signed in."""
    with databases.migrated(PACKAGE) as database_url:
        environment = {
            "APP_ENV": "test",
            "DATABASE_URL": database_url,
            "REDIS_URL": os.environ["TEST_REDIS_URL"],
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "unused",
            "LLM_MODEL": "m",
            "EMBEDDING_MODEL": "e",
            "LANGGRAPH_CONFIG": str(GRAPHS),
        }
        with _worker(environment), served(PACKAGE, environment) as (url, _):
            yield Server(url, {"Authorization": f"Bearer {_token(url)}"})


@contextmanager
def _worker(environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", PACKAGE, "worker"], env=os.environ | environment, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _token(url: str) -> str:
    email, password = f"{uuid.uuid4()}@example.com", "correct horse battery staple"
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
        account = {"email": email, "name": "Ada", "password": password}
        http.post("/auth/register", json=account).raise_for_status()
        answer = http.post("/auth/token", data={"username": email, "password": password}).raise_for_status()
    token: str = answer.json()["access_token"]
    return token
