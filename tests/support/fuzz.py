"""Sends valid and invalid requests to an operation, and checks the responses against the document."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import Case, GenerationMode

FUZZ_MARKS = [
    pytest.mark.slow,
    # The app's connection pool, in a thread of this process, draws random numbers while a request is made up here.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]
_SECONDS = 120  # until a service is taken for hung
_QUERY_BYTES = 60_000  # uvicorn refuses a longer request line itself, before the application


def fuzz(
    url: str,
    operation: str,
    *,
    examples: int,
    excluded_checks: Sequence[Any] = (),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise for the first answer that the OpenAPI document at `url` does not describe; an operation is `POST /ask`."""
    method, path = operation.split(" ")
    endpoint = schemathesis.openapi.from_url(f"{url}/openapi.json", timeout=_SECONDS)[path][method]

    @given(case=endpoint.as_strategy(generation_mode=GenerationMode.NEGATIVE) | endpoint.as_strategy())
    @settings(
        max_examples=examples,
        derandomize=True,  # the same requests each time
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Case[Any]) -> None:
        assume(len(urlencode(case.query, doseq=True)) < _QUERY_BYTES)
        case.call_and_validate(timeout=_SECONDS, excluded_checks=list(excluded_checks), headers=dict(headers))

    send()
