"""Fallback models of an agent."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel

from project4_agent_api.agents.middleware import Middleware
from shared.models.chat import FALLBACK_ERRORS


class FallbackModels(Middleware):
    """Calls the next model if one is unavailable or times out; not if the input is refused.

    LangChain's own middleware calls the next one after any error.

    Args:
        models: In their order, without the first.
    """

    def __init__(self, models: Sequence[BaseChatModel]) -> None:
        super().__init__()
        self._models = models

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the models in turn."""
        for model in self._models:
            try:
                return await handler(request)
            except FALLBACK_ERRORS:
                request = request.override(model=model)
        return await handler(request)
