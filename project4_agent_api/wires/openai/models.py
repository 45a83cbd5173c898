"""`/v1/models`: the assistants that the user may use."""

from collections import Counter
from contextlib import suppress
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.models import Assistant
from project4_agent_api.wires.conversations import Conversations, ConversationsDep
from project4_agent_api.wires.graph_inputs import input_form
from project4_agent_api.wires.openai.errors import ModelNotFound, model_errors
from shared.errors import InvalidRequest
from shared.problems import error_responses

router = APIRouter(route_class=JsonRoute, prefix="/v1/models", tags=["openai"])


@router.get("", response_class=Response)
async def list_models(conversations: ConversationsDep) -> Response:
    """List the assistants that take messages. An assistant's id is its name, if no other has it."""
    assistants = await _list_conversational(conversations)
    names = Counter(assistant.name for assistant in assistants)
    models = [_to_model(assistant, _model_id(assistant, names)) for assistant in assistants]
    return JsonResponse({"object": "list", "data": models})


@router.get("/{model:path}", response_class=Response, responses=error_responses(ModelNotFound))
async def get_model(model: str, conversations: ConversationsDep) -> Response:
    """Return an assistant."""
    with model_errors():
        assistant_id = await conversations.resolve_assistant(model)
    assistants = await conversations.list_assistants()
    assistant = next((assistant for assistant in assistants if assistant.assistant_id == assistant_id), None)
    if assistant is None:
        raise ModelNotFound("There is no assistant with this id or name.")
    return JsonResponse(_to_model(assistant, model))


async def _list_conversational(conversations: Conversations) -> list[Assistant]:
    """Return the assistants whose graphs take messages. A graph is inspected once, with the first of its assistants."""
    takes_messages: dict[str, bool] = {}
    assistants = await conversations.list_assistants()
    for assistant in assistants:
        if assistant.graph_id not in takes_messages:
            try:
                form = await input_form(conversations, assistant)
            except InvalidRequest:  # its factory refuses this configuration; a run says why
                continue
            takes_messages[assistant.graph_id] = form.kind == "message"
    return [assistant for assistant in assistants if takes_messages.get(assistant.graph_id, True)]


def _model_id(assistant: Assistant, names: Counter[str]) -> str:
    """Return the name of an assistant, or its id if the name may mean another one."""
    with suppress(ValueError):
        UUID(assistant.name)
        return str(assistant.assistant_id)
    is_unique = assistant.owner_id is None or names[assistant.name] == 1
    return assistant.name if is_unique else str(assistant.assistant_id)


def _to_model(assistant: Assistant, model: str) -> dict[str, Any]:
    return {
        "id": model,
        "object": "model",
        "created": int(assistant.created_at.timestamp()),
        "owned_by": "system" if assistant.owner_id is None else "user",
        "name": assistant.name,
        "description": assistant.description,
    }
