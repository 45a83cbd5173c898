"""Stage 3 keeps to its OpenAPI document, whatever it is sent."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.fuzz import fuzz

pytestmark = [
    pytest.mark.slow,
    # The app's connection pool, in a thread of this process, draws random numbers while a request is made up here.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]

OPERATIONS = [
    "POST /documents",
    "GET /documents",
    "GET /documents/{document_id}",
    "GET /documents/{document_id}/chunks",
    "GET /documents/{document_id}/events",
    "GET /documents/{document_id}/file",
    "DELETE /documents/{document_id}",
    "POST /documents/search",
    "POST /documents/ask",
    "POST /documents/ask/stream",
]
# Which file is a document no schema can say; and in a form, a number is a text like any other.
BEYOND_A_SCHEMA = {"POST /documents"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_sent_is_answered_as_described(
    serve3: Callable[..., AbstractContextManager[str]], operation: str
) -> None:
    excluded = [positive_data_acceptance, negative_data_rejection] if operation in BEYOND_A_SCHEMA else []
    with serve3(llm_timeout_seconds=5) as url:
        fuzz(url, operation, examples=60, excluded_checks=excluded)
