"""Stage 3 keeps to its OpenAPI document for any request."""

from collections.abc import Callable, Iterator

import pytest
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from project1_qa_api.settings import Settings as Stage1Settings
from project3_rag_docs.main import create_app
from tests.project3_rag_docs.conftest import settings_for
from tests.support.databases import Databases
from tests.support.fuzz import FUZZ_MARKS, fuzz
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

pytestmark = FUZZ_MARKS

OPERATIONS = [
    "POST /documents",
    "GET /documents",
    "GET /documents/{document_id}",
    "GET /documents/{document_id}/chunks",
    "GET /documents/{document_id}/events",
    "GET /documents/{document_id}/file",
    "GET /documents/{document_id}/pages/{number}.png",
    "GET /documents/{document_id}/versions",
    "DELETE /documents/{document_id}",
    "POST /documents/search",
    "POST /documents/ask",
    "POST /documents/ask/stream",
]
# Which file is a document no schema can say; and in a form, a number is a text like any other.
BEYOND_A_SCHEMA = {"POST /documents"}


@pytest.fixture(scope="module")
def url(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _model_server: ScriptedModel
) -> Iterator[str]:
    """Stage 3."""
    _model_server.reset()
    with (
        databases.migrated("project3_rag_docs") as database_url,
        running(create_app(settings_for(make_settings, database_url, llm_timeout_seconds=5))) as url,
    ):
        yield url


@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_follow_the_openapi_document(url: str, operation: str) -> None:
    excluded = [positive_data_acceptance, negative_data_rejection] if operation in BEYOND_A_SCHEMA else []
    fuzz(url, operation, examples=60, excluded_checks=excluded)
