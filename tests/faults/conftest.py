"""Fixtures of the fault tests."""

from collections.abc import AsyncIterator, Iterator

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.faults.stack import Stack, running_stack
from tests.support.scripted_model import ScriptedModel


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, _model_server: ScriptedModel) -> Iterator[Stack]:
    """All of stage 4. A case leaves it as it was: an API and a worker that work."""
    with running_stack(tmp_path_factory.mktemp("stack"), _model_server) as stack:
        yield stack


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[LangGraphClient]:
    """LangGraph's client, signed in."""
    async with get_client(url=stack.service.url, api_key=None, headers=stack.service.sign_up()) as client:
        yield client
