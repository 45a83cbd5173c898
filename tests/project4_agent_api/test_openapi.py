"""Threads and runs keep to the OpenAPI document, whatever they are sent."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from tests.support.fuzz import fuzz

pytestmark = [
    pytest.mark.slow,
    # The app's connection pool, in a thread of this process, draws random numbers while a request is made up here.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]

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
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_sent_is_answered_as_described(
    serve4: Callable[..., AbstractContextManager[str]], operation: str
) -> None:
    # What a schema cannot say: which assistants there are, that a context has one form, and that here is no lock.
    excluded = [positive_data_acceptance, negative_data_rejection, ignored_auth]
    with serve4(llm_timeout_seconds=5, auth_required=False) as url:
        fuzz(url, operation, examples=50, excluded_checks=excluded)
