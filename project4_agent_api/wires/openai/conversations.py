"""`/v1/conversations`: threads, which responses continue."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.postgres import Row
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.threads.schemas import ThreadPatch
from project4_agent_api.wires.conversations import ConversationsDep
from project4_agent_api.wires.openai.conversation_items import ItemPage, to_items
from project4_agent_api.wires.openai.errors import unsupported
from project4_agent_api.wires.openai.ids import CONVERSATION, decode_id, encode_id
from project4_agent_api.wires.openai.schemas import Metadata
from shared.errors import NotFound
from shared.problems import error_responses
from shared.schemas import RequestBody

router = APIRouter(
    route_class=JsonRoute, prefix="/v1/conversations", tags=["openai"], responses=error_responses(NotFound)
)


class ConversationPatch(RequestBody):
    """Changes to a conversation."""

    metadata: Metadata = None


class ConversationCreate(ConversationPatch):
    """A new conversation."""

    items: list[Any] | None = None


@router.post("", response_class=Response)
async def create_conversation(conversations: ConversationsDep, body: ConversationCreate | None = None) -> Response:
    """Create a conversation."""
    if body and body.items:
        raise unsupported("items", "send them as the input of the first response")
    metadata = (body and body.metadata) or {}
    thread_id = await conversations.create_thread(metadata)
    return JsonResponse(_to_conversation(await conversations.get_thread(thread_id)))


@router.get("/{conversation_id}", response_class=Response)
async def get_conversation(conversation_id: str, conversations: ConversationsDep) -> Response:
    """Return a conversation."""
    return JsonResponse(_to_conversation(await conversations.get_thread(_thread_id(conversation_id))))


@router.post("/{conversation_id}", response_class=Response)
async def update_conversation(
    conversation_id: str, body: ConversationPatch, conversations: ConversationsDep
) -> Response:
    """Change a conversation's metadata, key by key."""
    thread_id, patch = _thread_id(conversation_id), {"metadata": body.metadata or {}}
    owner_id = await conversations.authorize("PATCH /threads/{thread_id}", patch, {"thread_id": thread_id})
    await conversations.threads.update(owner_id, thread_id, ThreadPatch.model_validate(patch))
    return JsonResponse(_to_conversation(await conversations.get_thread(thread_id)))


@router.delete("/{conversation_id}", response_class=Response)
async def delete_conversation(conversation_id: str, conversations: ConversationsDep) -> Response:
    """Delete a conversation with its responses."""
    thread_id = _thread_id(conversation_id)
    owner_id = await conversations.authorize("DELETE /threads/{thread_id}", ids={"thread_id": thread_id})
    await conversations.threads.delete(owner_id, thread_id)
    return JsonResponse({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@router.get("/{conversation_id}/items", response_class=Response)
async def list_items(
    conversation_id: str, page: Annotated[ItemPage, Query()], conversations: ConversationsDep
) -> Response:
    """List the items of a conversation."""
    thread = await conversations.get_thread(_thread_id(conversation_id))
    values = thread["values"].decode_json() if thread["values"] else {}
    messages = values.get("messages") if isinstance(values, dict) else None
    label = thread["metadata"].decode_json().get("graph_id") or ""
    return JsonResponse(page.cut(list(to_items(messages if isinstance(messages, list) else (), label))))


def _thread_id(conversation_id: str) -> UUID:
    return decode_id(CONVERSATION, conversation_id)


def _to_conversation(thread: Row) -> dict[str, Any]:
    metadata = thread["metadata"].decode_json()
    return {
        "id": encode_id(CONVERSATION, thread["thread_id"]),
        "object": "conversation",
        "created_at": int(thread["created_at"].timestamp()),
        "metadata": {name: value for name, value in metadata.items() if isinstance(value, str)},
    }
