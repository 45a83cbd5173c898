"""Stage 2 keeps to its OpenAPI document, whatever it is sent."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.fuzz import fuzz

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
# What is an e-mail, and which version is the present one, no schema can say: well-formed values may be refused here.
BEYOND_A_SCHEMA = {"POST /users", "PATCH /users/{user_id}"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_sent_is_answered_as_described(
    serve2: Callable[..., AbstractContextManager[str]], operation: str
) -> None:
    excluded = [positive_data_acceptance] if operation in BEYOND_A_SCHEMA else []
    with serve2(llm_timeout_seconds=5) as url:
        fuzz(url, operation, examples=60, excluded_checks=excluded)
