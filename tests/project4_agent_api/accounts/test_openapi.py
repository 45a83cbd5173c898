"""The accounts keep to their OpenAPI document for any request."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx2
import pytest
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from project1_qa_api.settings import Settings as Stage1Settings
from project4_agent_api.main import create_app
from tests.project4_agent_api.conftest import settings_for
from tests.support.accounts import bearer, register, sign_in
from tests.support.databases import Databases
from tests.support.fuzz import FUZZ_MARKS, fuzz
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

pytestmark = FUZZ_MARKS

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
# No schema can express a valid e-mail, a right password or a moment in the future.
# And a caller that has signed out, or deleted the account, is unauthenticated from then on.
BEYOND_A_SCHEMA = {
    "POST /auth/logout-all",
    "DELETE /auth/me",
    "POST /auth/register",
    "POST /auth/token",
    "POST /auth/refresh",
    "PATCH /auth/me",
    "POST /auth/api-keys",
}


@pytest.fixture(scope="module")
def url(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _redis_server: str, _model_server: ScriptedModel
) -> Iterator[str]:
    """The API, in which each test has an account of its own."""
    _model_server.reset()
    changes = {"llm_timeout_seconds": 5, "sign_in_failures": 10_000}
    with (
        databases.migrated("project4_agent_api") as database_url,
        running(create_app(settings_for(make_settings, database_url, _redis_server, **changes))) as url,
    ):
        yield url


@pytest.mark.parametrize("signed_in", [True, False], ids=["signed in", "a stranger"])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_responses_follow_the_openapi_document(url: str, operation: str, signed_in: bool) -> None:
    excluded = [positive_data_acceptance] if operation in BEYOND_A_SCHEMA else []
    if operation == "POST /auth/token":
        excluded.append(negative_data_rejection)  # a form's fields are all texts
    headers = {}
    if signed_in:
        email = f"{uuid4()}@example.com"
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, email)
            headers = bearer(await sign_in(client, email))
    fuzz(url, operation, examples=40, excluded_checks=excluded, headers=headers)
