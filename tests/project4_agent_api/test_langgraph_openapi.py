"""The OpenAPI document of assistants, store and crons describes their responses to any request."""

from collections.abc import Callable, Iterator

import pytest
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from project1_qa_api.settings import Settings as Stage1Settings
from tests.project4_agent_api.conftest import settings_for
from tests.support.agent_parts import create_parts
from tests.support.databases import Databases
from tests.support.fuzz import FUZZ_MARKS, fuzz
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

pytestmark = FUZZ_MARKS

OPERATIONS = [
    "POST /assistants",
    "POST /assistants/search",
    "POST /assistants/count",
    "GET /assistants/{assistant_id}",
    "PATCH /assistants/{assistant_id}",
    "DELETE /assistants/{assistant_id}",
    "POST /assistants/{assistant_id}/versions",
    "POST /assistants/{assistant_id}/latest",
    "GET /assistants/{assistant_id}/graph",
    "GET /assistants/{assistant_id}/schemas",
    "GET /assistants/{assistant_id}/subgraphs",
    "GET /assistants/{assistant_id}/subgraphs/{namespace}",
    "PUT /store/items",
    "GET /store/items",
    "DELETE /store/items",
    "POST /store/items/search",
    "POST /store/namespaces",
    "POST /runs/crons",
    "POST /threads/{thread_id}/runs/crons",
    "POST /runs/crons/search",
    "POST /runs/crons/count",
    "GET /runs/crons/{cron_id}",
    "PATCH /runs/crons/{cron_id}",
    "DELETE /runs/crons/{cron_id}",
    "GET /ok",
    "GET /info",
]


@pytest.fixture(scope="module")
def url(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _redis_server: str, _model_server: ScriptedModel
) -> Iterator[str]:
    """The parts of stage 4 that serve assistants, store and crons."""
    _model_server.reset()
    with databases.migrated("project4_agent_api") as database_url:
        settings = settings_for(make_settings, database_url, _redis_server, llm_timeout_seconds=5)
        with running(create_parts(settings)) as url:
            yield url


@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_follow_the_openapi_document(url: str, operation: str) -> None:
    # What a schema cannot say: which schedules and operators there are, and that a context is given in one form.
    excluded = [positive_data_acceptance, negative_data_rejection]
    fuzz(url, operation, examples=60, excluded_checks=excluded)
