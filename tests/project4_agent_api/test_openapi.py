"""Threads and runs keep to the OpenAPI document for any request."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from project1_qa_api.settings import Settings as Stage1Settings
from project4_agent_api.main import create_app
from tests.project4_agent_api.conftest import settings_for
from tests.support.databases import Databases
from tests.support.fuzz import FUZZ_MARKS, fuzz
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

pytestmark = FUZZ_MARKS

# Those that wait for a run need one that ends: `test_runs.py` and the conformance suite ask for these.
OPERATIONS = [
    "POST /threads",
    "POST /threads/search",
    "POST /threads/count",
    "POST /threads/prune",
    "GET /threads/{thread_id}",
    "PATCH /threads/{thread_id}",
    "DELETE /threads/{thread_id}",
    "POST /threads/{thread_id}/copy",
    "GET /threads/{thread_id}/state",
    "POST /threads/{thread_id}/state",
    "GET /threads/{thread_id}/state/{checkpoint_id}",
    "POST /threads/{thread_id}/state/checkpoint",
    "POST /threads/{thread_id}/history",
    "GET /threads/{thread_id}/history",
    "POST /threads/{thread_id}/runs",
    "GET /threads/{thread_id}/runs",
    "POST /runs",
    "POST /runs/batch",
    "GET /threads/{thread_id}/runs/{run_id}",
    "DELETE /threads/{thread_id}/runs/{run_id}",
    "POST /threads/{thread_id}/runs/{run_id}/cancel",
    "POST /runs/cancel",
    "POST /threads/{thread_id}/commands",
    "POST /feedback",
    "GET /runs",
    "GET /runs/{run_id}",
    "GET /runs/{run_id}/steps",
    "GET /runs/{run_id}/steps/{checkpoint_id}",
    "GET /feedback",
    "GET /feedback/{feedback_id}",
    "PATCH /feedback/{feedback_id}",
    "DELETE /feedback/{feedback_id}",
]


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[str]:
    with databases.migrated("project4_agent_api") as database_url:
        yield database_url


@pytest.fixture(scope="module")
def url(
    make_settings: Callable[..., Stage1Settings], database: str, _redis_server: str, _model_server: ScriptedModel
) -> Iterator[str]:
    """The API without accounts."""
    _model_server.reset()
    changes = {"llm_timeout_seconds": 5, "auth_required": False}
    with running(create_app(settings_for(make_settings, database, _redis_server, **changes))) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_threads(database: str) -> Iterator[None]:
    """Leave no thread to the next operation."""
    yield
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE threads, runs CASCADE")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_follow_the_openapi_document(url: str, operation: str) -> None:
    # What a schema cannot say: which assistants there are, that a context has one form, and that here is no lock.
    excluded = [positive_data_acceptance, negative_data_rejection, ignored_auth]
    fuzz(url, operation, examples=50, excluded_checks=excluded)
