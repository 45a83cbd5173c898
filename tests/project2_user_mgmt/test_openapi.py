"""Stage 2 keeps to its OpenAPI document, whatever it is sent."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

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
    method, path = operation.split(" ")
    with serve2(llm_timeout_seconds=1) as url:
        endpoint = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]

        @given(case=endpoint.as_strategy(generation_mode=GenerationMode.NEGATIVE) | endpoint.as_strategy())
        @settings(
            max_examples=60,
            derandomize=True,  # the same requests each time
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def fuzz(case: Case[Any]) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance] if operation in BEYOND_A_SCHEMA else [])

        fuzz()
