"""Prompts of MCP, which clients offer to their users as commands: the model of the client reads a document."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from mcp import types
from mcp.shared.exceptions import McpError

from project3_rag_docs import documents
from project3_rag_docs.models import Status
from project3_rag_docs.schemas import DocumentRead
from project4_agent_api.wires.mcp.resources import document_uri, read_resource
from shared.database.engine import Sessions, transaction

_DOCUMENT = "document"
_MAX_NAMES = 100  # that the protocol allows in a completion
_REQUESTS: Mapping[str, str] = {
    "summarize_document": "Summarize this document: what it is, its main points, and the figures and dates that "
    "matter. Use its language.",
    "check_document": "List what in this document is contradictory, unclear or missing, each with the words that "
    "show it. Use its language.",
}
PROMPTS = [
    types.Prompt(
        name=name,
        title=name.replace("_", " ").capitalize(),
        description=request,
        arguments=[
            types.PromptArgument(name=_DOCUMENT, description="Name of one of the user's documents.", required=True)
        ],
    )
    for name, request in _REQUESTS.items()
]


async def get_prompt(sessions: Sessions, owner_id: UUID, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Return a prompt with the text of a document: the newest one with the name, or with a name that contains it.

    Raises:
        McpError: if there is no such prompt or document.
    """
    request, name = _REQUESTS.get(params.name), (params.arguments or {}).get(_DOCUMENT, "")
    if request is None:
        raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=f"Unknown prompt: {params.name[:100]!a}"))
    found = await _find(sessions, owner_id, name, filename=name) or await _find(sessions, owner_id, name)
    if not name or not found:
        raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message="There is no document with this name."))
    chosen = found[0]
    read = await read_resource(sessions, owner_id, document_uri(chosen.id))
    content: list[types.ContentBlock] = [
        types.TextContent(type="text", text=request),
        *(types.EmbeddedResource(type="resource", resource=resource) for resource in read.contents),
    ]
    messages = [types.PromptMessage(role="user", content=block) for block in content]
    return types.GetPromptResult(description=f"{request} ({chosen.filename})", messages=messages)


async def complete(sessions: Sessions, owner_id: UUID, argument: types.CompletionArgument) -> types.CompleteResult:
    """Return the names of documents that contain what the user has typed."""
    found = await _find(sessions, owner_id, argument.value) if argument.name == _DOCUMENT else []
    names = list(dict.fromkeys(document.filename for document in found))
    return types.CompleteResult(completion=types.Completion(values=names))


async def _find(
    sessions: Sessions, owner_id: UUID, name: str, *, filename: str | None = None
) -> Sequence[DocumentRead]:
    """Return the newest readable documents whose names contain a text, or with exactly a name."""
    if "\0" in name:  # PostgreSQL has no such text
        return []
    async with transaction(sessions) as session:
        found = await documents.list_documents(
            session, owner_id, before=None, limit=_MAX_NAMES, name=name, filename=filename, status=Status.READY
        )
        return [DocumentRead.model_validate(document) for document in found]
