"""Starts this project's service as the conformance tests need it: an API and a worker as processes, and an account."""

import secrets
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
GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


@dataclass(frozen=True)
class Server:
    """A server's address, and the headers that each request must carry."""

    url: str
    headers: dict[str, str]


@contextmanager
def our_service(databases: Databases, redis_url: str, model: ScriptedModel) -> Iterator[Server]:
    """Run an API and a worker on a database of their own while the block runs, with an account signed in."""
    with databases.migrated(PACKAGE) as database_url:
        environment = {
            "APP_ENV": "test",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "JWT_SECRET": secrets.token_urlsafe(32),
            "RATE_LIMIT_PER_MINUTE": "1000000",
            "ACCESS_TOKEN_MINUTES": "600",  # one sign-in is good for all tests
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "unused",
            "LLM_MODEL": "m",
            "EMBEDDING_MODEL": "e",
            "LANGGRAPH_CONFIG": str(GRAPHS),
            "WEBHOOK_ALLOW_PRIVATE": "true",
            "CRON_INTERVAL_SECONDS": "0",
        }
        with served(PACKAGE, environment, "worker"), served(PACKAGE, environment) as (url, _):
            yield Server(url, {"Authorization": f"Bearer {_token(url)}"})


def _token(url: str) -> str:
    email, password = f"{uuid.uuid4()}@example.com", "correct horse battery staple"
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
        account = {"email": email, "name": "Ada", "password": password}
        http.post("/auth/register", json=account).raise_for_status()
        answer = http.post("/auth/token", data={"username": email, "password": password}).raise_for_status()
    token: str = answer.json()["access_token"]
    return token
