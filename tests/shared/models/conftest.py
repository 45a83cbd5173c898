"""The chat model in front of the scripted one."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from project1_qa_api.settings import Settings
from shared.models.chat import create_chat_models
from shared.models.client import create_http_client
from shared.models.endpoint import EndpointChatModel
from tests.support.scripted_model import ScriptedModel


@pytest.fixture
async def chat_models(
    model: ScriptedModel, make_settings: Callable[..., Settings]
) -> AsyncIterator[Callable[..., list[EndpointChatModel]]]:
    """Creates the configured models, with changed settings."""
    model.profile = None  # most answers here are of endpoints that accept their own messages
    settings = make_settings()
    async with create_http_client(settings) as http:
        yield lambda **changes: create_chat_models(make_settings(**changes), http)


@pytest.fixture
def chat_model(chat_models: Callable[..., list[Any]]) -> EndpointChatModel:
    """The chat model."""
    only: EndpointChatModel
    (only,) = chat_models()
    return only
