"""A2A at `/a2a/{assistant_id}`: assistants as agents, with a card each. The protocol is the official SDK's."""

import logging
from contextlib import suppress
from typing import Annotated
from uuid import UUID

import orjson
from a2a.server.context import ServerCallContext
from a2a.server.jsonrpc_models import JSONParseError
from a2a.server.request_handlers.response_helpers import agent_card_to_dict, build_error_response
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    APIKeySecurityScheme,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import PROTOCOL_VERSION_0_3, PROTOCOL_VERSION_1_0, VERSION_HEADER
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import JSONResponse

from project4_agent_api.accounts.authenticator import Authenticator
from project4_agent_api.accounts.guards import authenticate
from project4_agent_api.core.state import find
from project4_agent_api.models import Assistant
from project4_agent_api.wires.a2a.calls import OUTPUT_MODES
from project4_agent_api.wires.a2a.handler import Handler
from project4_agent_api.wires.conversations import Conversations
from shared.database.engine import read_session
from shared.errors import Forbidden, InvalidRequest, NotFound
from shared.problems import error_responses

router = APIRouter(tags=["a2a"])
card_router = APIRouter(tags=["a2a"], responses=error_responses(NotFound))
logging.getLogger("a2a").setLevel(logging.CRITICAL)  # it logs a traceback for each malformed request

_NOBODY = UUID(int=0)
AssistantName = Annotated[str, Path(description="An assistant's id, or the name of a graph.", max_length=200)]


class _Context(DefaultServerCallContextBuilder):
    def build(self, request: Request) -> ServerCallContext:
        """Add the request. A client that names no version gets that of its method: `SendMessage`, `message/send`."""
        context = super().build(request)
        context.state["request"] = request
        version = PROTOCOL_VERSION_0_3 if "/" in request.state.a2a_method else PROTOCOL_VERSION_1_0
        context.state["headers"].setdefault(VERSION_HEADER.lower(), version)
        return context


_dispatcher = JsonRpcDispatcher(Handler(), _Context(), enable_v0_3_compat=True)


@router.post(
    "/a2a/{assistant_id}",
    response_class=Response,
    response_description="JSON-RPC: as JSON, or as server-sent events by the methods that stream.",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def call_agent(assistant_id: AssistantName, request: Request) -> Response:
    """Call a method of the Agent2Agent protocol, version 1.0 or 0.3."""
    del assistant_id  # the handler reads it from the path
    if not request.app.state.origins.admit(request.headers):
        raise Forbidden("Pages of this origin are not admitted. CORS_ORIGINS admits them.")
    try:
        # Unlike Python's parser, this one refuses lone surrogates, and any depth that no other code could handle.
        call = request._json = orjson.loads(await request.body())  # noqa: SLF001  which the dispatcher reads
    except orjson.JSONDecodeError:
        return JSONResponse(build_error_response(None, JSONParseError()))
    request.state.a2a_method = str(call.get("method")) if isinstance(call, dict) else ""
    return await _dispatcher.handle_requests(request)


async def carded_assistant(request: Request, name: str) -> Assistant:
    """Return the assistant of a card. Cards of built-in ones are public, because clients read them before they sign in.

    Raises:
        NotFound: if it does not exist, or belongs to another user.
        Unauthorized: if it is a user's own, and the request has no valid credential.
    """
    conversations = Conversations.from_request(request)
    assistants = conversations.assistants
    with suppress(InvalidRequest):
        assistant_id = assistants.parse_id(name)
        if assistant_id in assistants.built_in and not find(request.app, Authenticator).project_auth:
            await assistants.ensure_built_in(conversations.sessions)
            async with read_session(request.app.state.reading) as session:
                return await assistants.get(session, _NOBODY, assistant_id)
    await authenticate(request, request.receive)
    return await conversations.get_assistant(await conversations.resolve_assistant(name))


async def card_of_path(assistant_id: AssistantName, request: Request) -> Assistant:
    """Return the assistant in the path."""
    return await carded_assistant(request, assistant_id)


async def card_of_query(
    request: Request,
    assistant_id: Annotated[
        str | None, Query(description="An assistant's id, or the name of a graph. Default: the first graph.")
    ] = None,
) -> Assistant:
    """Return the assistant in the query."""
    return await carded_assistant(request, assistant_id or Conversations.from_request(request).assistants.graph_ids[0])


@card_router.get("/a2a/{assistant_id}/.well-known/agent-card.json")
async def show_card(assistant: Annotated[Assistant, Depends(card_of_path)], request: Request) -> Response:
    """Show the card of an agent."""
    return JSONResponse(agent_card_to_dict(_card(assistant, request)))


@card_router.get("/.well-known/agent-card.json")
async def show_default_card(assistant: Annotated[Assistant, Depends(card_of_query)], request: Request) -> Response:
    """Show the card of an agent."""
    return JSONResponse(agent_card_to_dict(_card(assistant, request)))


def _card(assistant: Assistant, request: Request) -> AgentCard:
    url = f"{request.base_url}a2a/{assistant.assistant_id}"
    description = assistant.description or f"The assistant {assistant.name}."
    card = AgentCard(
        name=assistant.name,
        description=description,
        version=str(assistant.version),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
            for version in (PROTOCOL_VERSION_1_0, PROTOCOL_VERSION_0_3)
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=False),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=OUTPUT_MODES,
        skills=[AgentSkill(id=assistant.graph_id, name=assistant.name, description=description, tags=["langgraph"])],
    )
    if find(request.app, Authenticator).auth_required:
        bearer = HTTPAuthSecurityScheme(scheme="Bearer", description="An access token, or an API key.")
        api_key = APIKeySecurityScheme(location="header", name="X-Api-Key")
        card.security_schemes["bearer"].CopyFrom(SecurityScheme(http_auth_security_scheme=bearer))
        card.security_schemes["apiKey"].CopyFrom(SecurityScheme(api_key_security_scheme=api_key))
        for name in ("bearer", "apiKey"):
            card.security_requirements.append(SecurityRequirement(schemes={name: StringList()}))
    return card
