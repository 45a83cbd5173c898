"""Routes for versions: replace a document, and list its earlier versions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, File, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError

from project3_rag_docs import documents, versions
from project3_rag_docs.access import ReadableOwner, WritableOwner
from project3_rag_docs.routes.documents import PATH
from project3_rag_docs.routes.uploads import ACCEPTED_FILES, receive_file
from project3_rag_docs.schemas import VersionList, VersionRead
from shared.database.engine import ReadSessionDep, SessionsDep, transaction
from shared.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    RequestBodyTooLarge,
    StorageFull,
    TooManyRequests,
    UnsupportedMediaType,
)
from shared.jobs.queue import JobsDep
from shared.problems import error_responses

VERSIONS = "/{document_id}/versions"
router = APIRouter(prefix=PATH, tags=["documents"], responses=error_responses(DatabaseUnavailable, NotFound))


async def forbid_other_fields(request: Request) -> None:
    """Reject a form with anything besides one file.

    Raises:
        RequestValidationError: if there is such a field.
    """
    names = [name for name, _ in (await request.form()).multi_items()]
    if "file" in names and len(names) > 1:
        message = "only one field `file` is allowed"
        raise RequestValidationError([{"type": "extra_forbidden", "loc": ("body",), "msg": message}])


@router.post(
    VERSIONS,
    status_code=202,
    dependencies=[Depends(forbid_other_fields)],
    responses=error_responses(
        Forbidden, UnsupportedMediaType, RequestBodyTooLarge, Conflict, TooManyRequests, StorageFull
    )
    | {
        200: {"model": VersionRead, "description": "The document, or its new version, has this content already."},
        202: {"description": "Stored. Searches find the current version until this one is ready."},
    },
)
async def replace_document(
    document_id: UUID,
    file: Annotated[UploadFile, File(description=ACCEPTED_FILES)],
    request: Request,
    response: Response,
    owner_id: WritableOwner,
    sessions: SessionsDep,
    jobs: JobsDep,
) -> VersionRead:
    """Upload a new version of a document. `GET /documents/{id}/events` reports its progress.

    The document keeps its id, metadata and tags, and gets the name of the file. An earlier new version that is not
    ready yet is discarded.
    """
    settings = request.app.state.settings
    upload = await receive_file(file, settings.max_upload_bytes)
    async with transaction(sessions) as session:
        for check in request.app.state.upload_checks:
            await check(session, owner_id, upload.size)
        version, accepted = await versions.add_version(
            jobs, session, owner_id, document_id, upload, at_once=settings.user_ingestion_max
        )
        if accepted:
            await documents.check_waiting(session, owner_id, settings.user_documents_waiting_max)
    response.status_code = 202 if accepted else 200
    return VersionRead.model_validate(version)


@router.get(VERSIONS)
async def list_versions(document_id: UUID, owner_id: ReadableOwner, session: ReadSessionDep) -> VersionList:
    """List the versions of a document, newest first: the new one, the current one, and the last hundred before."""
    existing, past = await versions.list_versions(session, owner_id, document_id)
    read = [VersionRead.model_validate(version) for version in existing]
    read += [VersionRead.model_validate({**version.model_dump(), "status": "replaced"}) for version in past]
    return VersionList(items=read)
