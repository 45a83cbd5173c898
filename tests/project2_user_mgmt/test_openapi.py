"""Stage 2 keeps to its OpenAPI document for any request."""

from collections.abc import Callable, Iterator

import pytest
from schemathesis.specs.openapi.checks import positive_data_acceptance

from project1_qa_api.settings import Settings as Stage1Settings
from tests.project2_user_mgmt.conftest import served_on
from tests.support.databases import Databases
from tests.support.fuzz import fuzz
from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow

OPERATIONS = [
    "POST /users",
    "GET /users",
    "GET /users/{user_id}",
    "PATCH /users/{user_id}",
    "DELETE /users/{user_id}",
    "POST /users/{user_id}/messages",
    "GET /users/{user_id}/messages",
]
# No schema can express a valid e-mail or the current version: well-formed values may be refused here.
BEYOND_A_SCHEMA = {"POST /users", "PATCH /users/{user_id}"}


@pytest.fixture(scope="module")
def url(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _model_server: ScriptedModel
) -> Iterator[str]:
    """Stage 2."""
    _model_server.reset()
    with (
        databases.migrated("project2_user_mgmt") as database_url,
        served_on(make_settings, database_url, llm_timeout_seconds=5) as url,
    ):
        yield url


@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_follow_the_openapi_document(url: str, operation: str) -> None:
    excluded = [positive_data_acceptance] if operation in BEYOND_A_SCHEMA else []
    fuzz(url, operation, examples=60, excluded_checks=excluded)
