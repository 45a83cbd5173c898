"""The user's documents as resources of MCP."""

import re
from uuid import UUID

from mcp import types
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from project3_rag_docs import documents
from project3_rag_docs.models import Status
from project3_rag_docs.schemas import DocumentRead
from shared.database.engine import Sessions, transaction
from shared.errors import InvalidRequest, NotFound
from shared.pagination import decode_cursor, split_page

_PAGE = 100
_MAX_CHUNKS = 200  # of one reading
_SCHEME = "documents"
_URI = re.compile(rf"{_SCHEME}://([0-9a-f-]{{36}})(?:/after/([0-9a-f-]{{36}}))?/?", re.ASCII)
_NOT_FOUND = -32002  # "Resource not found" in the specification
TEMPLATES = [
    types.ResourceTemplate(
        uriTemplate=f"{_SCHEME}://{{document_id}}",
        name="document",
        title="A document's text",
        description="The text of an uploaded document, from its beginning.",
        mimeType="text/plain",
    ),
    types.ResourceTemplate(
        uriTemplate=f"{_SCHEME}://{{document_id}}/after/{{chunk_id}}",
        name="document-part",
        title="A part of a document's text",
        description="The text after a chunk, such as one that the search has found.",
        mimeType="text/plain",
    ),
]


def document_uri(document_id: UUID | str) -> AnyUrl:
    """Return the address of a document."""
    return AnyUrl(f"{_SCHEME}://{document_id}")


async def list_resources(sessions: Sessions, owner_id: UUID, cursor: str | None) -> types.ListResourcesResult:
    """Return a page of the owner's documents that can be read, newest first.

    Raises:
        InvalidRequest: if the cursor is not one of an earlier page.
    """
    if cursor is not None and not re.fullmatch("[A-Za-z0-9_-]{22}", cursor):
        raise InvalidRequest("The cursor is not one of an earlier page.")
    before = decode_cursor(cursor) if cursor else None
    async with transaction(sessions) as session:
        found = await documents.list_documents(session, owner_id, before=before, limit=_PAGE + 1)
        page, following = split_page(found, _PAGE)
        ready = [DocumentRead.model_validate(document) for document in page if document.status == Status.READY]
    return types.ListResourcesResult(
        resources=[
            types.Resource(
                uri=document_uri(document.id),
                name=document.filename,
                description=f"{document.media_type}, {document.size_bytes:,} bytes",
                mimeType="text/plain",  # the type of the content read: text, not the file
                annotations=types.Annotations(lastModified=document.created_at.isoformat()),
            )
            for document in ready
        ],
        nextCursor=following,
    )


async def read_resource(sessions: Sessions, owner_id: UUID, uri: AnyUrl) -> types.ReadResourceResult:
    """Return the text of a document, or of a part of it. A long document ends with the address of its next part.

    Raises:
        McpError: if there is no such document.
    """
    match = _URI.fullmatch(str(uri))
    try:
        document_id, after = UUID(match[1] if match else ""), UUID(match[2]) if match and match[2] else None
        async with transaction(sessions) as session:
            document = await documents.get_document(session, owner_id, document_id)
            chunks = await documents.list_chunks(session, document.id, after=after, limit=_MAX_CHUNKS + 1)
    except (ValueError, NotFound):
        error = types.ErrorData(code=_NOT_FOUND, message="Resource not found", data={"uri": str(uri)[:300]})
        raise McpError(error) from None
    page = chunks[:_MAX_CHUNKS]
    text = "\n\n".join(chunk.text for chunk in page)
    if len(chunks) > _MAX_CHUNKS:
        text += f"\n\n(Continued at {document_uri(document_id)}/after/{page[-1].id})"
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, text=text, mimeType="text/plain")])
