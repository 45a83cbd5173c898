"""Fixtures of every test: a scripted model, stage 1 in front of it on a real socket, and a client."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx2
import pytest

from project1_qa_api.main import create_app
from project1_qa_api.settings import Settings
from shared.logs import configure_logging
from tests.support.browser import browser, page, pytest_runtest_teardown, refused_page
from tests.support.costs import pytest_collection_finish, pytest_configure, reduce_costs
from tests.support.databases import databases, server_url
from tests.support.embedded_model import embedded_model_url
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel
from tests.support.statements import statements
from tests.support.valkeys import _redis_server, full_redis_url, redis_url

pytest_plugins = ["tests.support.limits"]
# Fixtures and hooks of every test below.
__all__ = [
    "_redis_server",
    "browser",
    "databases",
    "embedded_model_url",
    "full_redis_url",
    "page",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_runtest_teardown",
    "redis_url",
    "refused_page",
    "server_url",
    "statements",
]

# Settings of the developer's own must not reach a test, nor the language of their terminal.
for name in [*Settings.model_fields, "langsmith_tracing", "langchain_tracing_v2"]:
    os.environ.pop(name.upper(), None)
os.environ["LC_ALL"] = "C.UTF-8"
Settings.model_config["env_file"] = None
reduce_costs()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that needs PostgreSQL or Valkey as slow, before `-m` selects."""
    for item in items:
        if not {"server_url", "_redis_server"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Report a skipped test as failed if `CI` is true; an expected failure stays one."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = (
            "failed",
            f"{item.nodeid} was skipped, and CI skips nothing: {report.longrepr}",
        )


@pytest.fixture(scope="session")
def _model_server() -> Iterator[ScriptedModel]:
    server = ScriptedModel()
    yield server
    server.close()


@pytest.fixture
def model(_model_server: ScriptedModel) -> Iterator[ScriptedModel]:
    """The scripted model, answering "Hello!" until a test scripts something else.

    A request that a real endpoint refuses fails the test, unless the test empties `violations` or sets `profile` to
    None.
    """
    _model_server.reset()
    yield _model_server
    assert not _model_server.violations, "the model endpoint refused requests"


@pytest.fixture(scope="session")
def make_settings(_model_server: ScriptedModel) -> Callable[..., Settings]:
    """Makes stage 1's settings, pointed at the scripted model."""

    def make(**changes: Any) -> Settings:
        fixed: dict[str, Any] = {
            "app_env": "test",
            "openai_base_url": _model_server.base_url,
            "llm_model": "m",
            "llm_max_retries": 0,
        }
        return Settings(**(fixed | changes))

    return make


@pytest.fixture(scope="session")
def serve(make_settings: Callable[..., Settings]) -> Callable[..., AbstractContextManager[str]]:
    """Serves stage 1 with changed settings while a block runs; gives its URL."""
    configure_logging(make_settings())
    return lambda **changes: running(create_app(make_settings(**changes)))


@pytest.fixture(scope="session")
def _app_url(serve: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with serve(llm_timeout_seconds=5) as url:
        yield url


@pytest.fixture
def app_url(_app_url: str, model: ScriptedModel) -> str:
    """Stage 1, served in front of `model`, which it gives five seconds."""
    assert model is not None
    return _app_url


@pytest.fixture
async def client(app_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of `app_url`."""
    async with httpx2.AsyncClient(base_url=app_url, timeout=120, trust_env=False) as http:
        yield http


@pytest.fixture
def patient_url(serve: Callable[..., AbstractContextManager[str]], model: ScriptedModel) -> Iterator[str]:
    """Stage 1 with a model timeout of a minute, for tests that must not end by it."""
    assert model is not None
    with serve(llm_timeout_seconds=60) as url:
        yield url


@pytest.fixture
async def patient_client(patient_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of `patient_url`."""
    async with httpx2.AsyncClient(base_url=patient_url, timeout=120, trust_env=False) as http:
        yield http
