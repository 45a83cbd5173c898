"""The accounts keep to their OpenAPI document, whatever they are sent."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import pytest
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.accounts import bearer, register, sign_in
from tests.support.fuzz import fuzz

pytestmark = [
    pytest.mark.slow,
    # The app's connection pool, in a thread of this process, draws random numbers while a request is made up here.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]

OPERATIONS = [
    "POST /auth/register",
    "POST /auth/token",
    "POST /auth/refresh",
    "POST /auth/logout",
    "POST /auth/logout-all",
    "GET /auth/me",
    "PATCH /auth/me",
    "DELETE /auth/me",
    "POST /auth/api-keys",
    "GET /auth/api-keys",
    "DELETE /auth/api-keys/{key_id}",
]
# What is an e-mail, whose password is right, and which moment is to come, no schema can say.
# And who has signed out, or deleted the account, is a stranger from then on.
BEYOND_A_SCHEMA = {
    "POST /auth/logout-all",
    "DELETE /auth/me",
    "POST /auth/register",
    "POST /auth/token",
    "POST /auth/refresh",
    "PATCH /auth/me",
    "POST /auth/api-keys",
}


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "a stranger"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_whatever_is_sent_is_answered_as_described(
    serve4: Callable[..., AbstractContextManager[str]], operation: str, signed_in: bool
) -> None:
    excluded = [positive_data_acceptance] if operation in BEYOND_A_SCHEMA else []
    if operation == "POST /auth/token":
        excluded.append(negative_data_rejection)  # a form's fields are all texts
    with serve4(llm_timeout_seconds=5, sign_in_failures=10_000) as url:
        headers = {}
        if signed_in:
            async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
                await register(client, "ada@example.com")
                headers = bearer(await sign_in(client, "ada@example.com"))
        fuzz(url, operation, examples=40, excluded_checks=excluded, headers=headers)
