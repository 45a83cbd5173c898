"""MCP at `/mcp`: assistants as tools, the search in documents as a tool, documents as resources and in prompts.

The protocol is the official SDK's (`mcp.server.lowlevel`); see `exchange.py` for how it is served without sessions.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import APIRouter, Request, Response
from loguru import logger
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.exceptions import McpError
from mcp.types import JSONRPCMessage, JSONRPCRequest
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from project4_agent_api.accounts.authenticator import Authenticator
from project4_agent_api.accounts.guards import MCP_PATH, Authenticated
from project4_agent_api.accounts.oauth.authorization import ASSISTANTS, DOCUMENTS, SCOPES
from project4_agent_api.accounts.oauth.routes import issuer_of
from project4_agent_api.accounts.principals import Principal
from project4_agent_api.core.state import find
from project4_agent_api.events.subscriber import Subscriber
from project4_agent_api.wires.conversations import Conversations
from project4_agent_api.wires.mcp import prompts, resources
from project4_agent_api.wires.mcp.exchange import Exchange, is_session_id, new_session_id, session_channel
from project4_agent_api.wires.mcp.names import SEARCH
from project4_agent_api.wires.mcp.tools import Tools
from shared.errors import Forbidden, ServiceError, Unauthorized
from shared.redis.client import RedisClient, redis_errors

METADATA = ".well-known/oauth-protected-resource"  # RFC 9728

router = APIRouter(tags=["mcp"])
metadata_router = APIRouter(prefix=f"/{METADATA}", tags=["mcp"])
_INSTRUCTIONS = (
    "The tools are assistants; each call is a run, which goes on if the connection is lost. Give the `thread_id` of a "
    "result to continue its conversation. The resources are the user's documents; `search_documents` searches them."
)
Handler = Callable[[Any, Conversations, Exchange], Awaitable[types.Result]]


class ProtectedResource(Authenticated):
    """Routers that name the metadata of their authorization when they refuse a request, as MCP's clients expect."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        try:
            await super().handle(scope, receive, send)
        except Unauthorized as error:
            error.headers = {**(error.headers or {}), "WWW-Authenticate": _challenge(Request(scope), SCOPES)}
            raise


def _challenge(request: Request, scopes: Iterable[str], error: str = "") -> str:
    """Return how to authenticate a request, with the address of the metadata (RFC 9728)."""
    parameters = {"error": error} if error else {}
    parameters["resource_metadata"] = f"{issuer_of(request)}/{METADATA}/mcp"
    if _offers_oauth(request):
        parameters["scope"] = " ".join(scopes)
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())


def _offers_oauth(request: Request) -> bool:
    return find(request.app, Authenticator).mcp_tokens is not None


class ResourceMetadata(BaseModel):
    """How `/mcp` is protected (RFC 9728)."""

    resource: str
    authorization_servers: list[str] | None = None
    scopes_supported: list[str] | None = None
    bearer_methods_supported: list[str] = ["header"]
    resource_name: str = "Agent API"


@metadata_router.get("/mcp", response_model_exclude_none=True)
@metadata_router.get("", response_model_exclude_none=True)
async def show_resource_metadata(request: Request) -> ResourceMetadata:
    """Show how `/mcp` is protected: by an access token or an API key as `Authorization: Bearer …`."""
    issuer = issuer_of(request)
    if not _offers_oauth(request):
        return ResourceMetadata(resource=f"{issuer}{MCP_PATH}")
    return ResourceMetadata(
        resource=f"{issuer}{MCP_PATH}", authorization_servers=[issuer], scopes_supported=list(SCOPES)
    )


@router.post(
    MCP_PATH,
    response_class=Response,
    response_description="JSON-RPC: as JSON, or as server-sent events if a tool is called.",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def exchange_messages(request: Request) -> Response:
    """Receive a message of the Model Context Protocol (streamable HTTP), and answer it if it is a request."""
    if not request.app.state.origins.admit(request.headers):
        raise Forbidden("Pages of this origin are not admitted. CORS_ORIGINS admits them.")
    body, session_id = await request.body(), request.headers.get(MCP_SESSION_ID_HEADER)
    try:
        message = JSONRPCMessage.model_validate_json(body).root
    except ValidationError as error:
        code = types.PARSE_ERROR if error.errors()[0]["type"] == "json_invalid" else types.INVALID_REQUEST
        return _error(code, "The body is no message of JSON-RPC.", None, status=400)
    if session_id is not None and not is_session_id(session_id):
        return _error(types.INVALID_REQUEST, "There is no such session.", None, status=404)
    channel = session_channel(request.state.principal.account_id, session_id) if session_id else None
    if not isinstance(message, JSONRPCRequest):
        if channel:
            redis = find(request.app, RedisClient)
            with redis_errors():
                await redis.publish(redis.key(channel), JSONRPCMessage(message).model_dump_json(by_alias=True))
        return Response(status_code=202)
    if message.method not in _METHODS:
        return _error(types.METHOD_NOT_FOUND, f"Method not found: {message.method[:100]!a}", message.id)
    _require_scope(request, message)
    if message.method == "initialize":
        session_id = new_session_id(message)
    listens = message.method == "tools/call"
    return Exchange(server, message, body, session_id, find(request.app, Subscriber), channel if listens else None)


def _require_scope(request: Request, message: JSONRPCRequest) -> None:
    """Refuse a request of an OAuth client that the user did not allow. Clients then ask for the scope.

    Raises:
        Forbidden: with the scope.
    """
    principal: Principal = request.state.principal
    needed = _SCOPES_OF_METHODS.get(message.method)
    if message.method == "tools/call" and (message.params or {}).get("name") == SEARCH:
        needed = DOCUMENTS
    if needed and principal.scopes is not None and needed not in principal.scopes:
        challenge = _challenge(
            request, [scope for scope in SCOPES if scope == needed or scope in principal.scopes], "insufficient_scope"
        )
        raise Forbidden(f"The user did not allow the scope {needed}.", headers={"WWW-Authenticate": challenge})


def _error(code: int, message: str, request_id: str | int | None, status: int = 200) -> Response:
    error = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    return JSONResponse(error, status_code=status)


def _create_server(handlers: dict[type[types.Request[Any, Any]], Handler]) -> Server[Any, Request]:
    server: Server[Any, Request] = Server("agent-api", version="0.1.0", instructions=_INSTRUCTIONS)
    # Not by the SDK's decorators: they remember the tools by name, and users have different ones.
    for kind, handler in handlers.items():
        server.request_handlers[kind] = _guard(server, handler)
    return server


def _guard(server: Server[Any, Request], handler: Handler) -> Callable[[Any], Awaitable[types.ServerResult]]:
    """Convert the errors of a handler to those of the protocol. Details of internal errors are only logged."""

    async def handle(request: Any) -> types.ServerResult:  # noqa: ANN401  one of the SDK's request types
        exchange = Exchange.from_context(server.request_context)
        http_request = server.request_context.request
        if http_request is None:
            raise RuntimeError("the request did not come over HTTP")
        try:
            return types.ServerResult(await handler(request, Conversations.from_request(http_request), exchange))
        except McpError:
            raise
        except (ServiceError, HTTPException) as error:  # the latter by a project's own authorization
            status = error.status if isinstance(error, ServiceError) else error.status_code
            code = types.INVALID_PARAMS if status < 500 else types.INTERNAL_ERROR
            raise McpError(types.ErrorData(code=code, message=error.detail)) from None
        except Exception as error:  # noqa: BLE001  a graph's factory may raise anything
            logger.opt(exception=error).error("{} failed: {}", type(request).__name__, type(error).__name__)
            raise McpError(types.ErrorData(code=types.INTERNAL_ERROR, message="Internal error")) from None

    return handle


async def _list_tools(request: types.ListToolsRequest, conversations: Conversations, _: Exchange) -> types.Result:
    return await Tools.from_conversations(conversations).list(_cursor(request))


async def _call_tool(request: types.CallToolRequest, conversations: Conversations, exchange: Exchange) -> types.Result:
    return await Tools.from_conversations(conversations).call(request.params, exchange)


async def _list_resources(
    request: types.ListResourcesRequest, conversations: Conversations, _: Exchange
) -> types.Result:
    owner_id = conversations.connection.state.principal.account_id
    return await resources.list_resources(conversations.sessions, owner_id, _cursor(request))


async def _read_resource(request: types.ReadResourceRequest, conversations: Conversations, _: Exchange) -> types.Result:
    owner_id = conversations.connection.state.principal.account_id
    return await resources.read_resource(conversations.sessions, owner_id, request.params.uri)


async def _list_prompts(_: types.ListPromptsRequest, __: Conversations, ___: Exchange) -> types.Result:
    return types.ListPromptsResult(prompts=prompts.PROMPTS)


async def _get_prompt(request: types.GetPromptRequest, conversations: Conversations, _: Exchange) -> types.Result:
    owner_id = conversations.connection.state.principal.account_id
    return await prompts.get_prompt(conversations.sessions, owner_id, request.params)


async def _complete(request: types.CompleteRequest, conversations: Conversations, _: Exchange) -> types.Result:
    owner_id = conversations.connection.state.principal.account_id
    return await prompts.complete(conversations.sessions, owner_id, request.params.argument)


async def _list_templates(_: types.ListResourceTemplatesRequest, __: Conversations, ___: Exchange) -> types.Result:
    return types.ListResourceTemplatesResult(resourceTemplates=resources.TEMPLATES)


def _cursor(request: types.PaginatedRequest[Any]) -> str | None:
    return request.params.cursor if request.params else None


server = _create_server(
    {
        types.ListToolsRequest: _list_tools,
        types.CallToolRequest: _call_tool,
        types.ListResourcesRequest: _list_resources,
        types.ListResourceTemplatesRequest: _list_templates,
        types.ListPromptsRequest: _list_prompts,
        types.GetPromptRequest: _get_prompt,
        types.CompleteRequest: _complete,
        types.ReadResourceRequest: _read_resource,
    }
)
_SCOPES_OF_METHODS = {
    "tools/call": ASSISTANTS,
    "resources/list": DOCUMENTS,
    "resources/read": DOCUMENTS,
    "prompts/get": DOCUMENTS,
    "completion/complete": DOCUMENTS,
}
_METHODS = {
    "initialize",
    *(kind.model_fields["method"].default for kind in server.request_handlers if issubclass(kind, BaseModel)),
}
