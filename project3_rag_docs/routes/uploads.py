"""Routes for uploads: a file, the file behind a URL, and the files of a ZIP archive."""

from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from project3_rag_docs import documents
from project3_rag_docs.access import get_access
from project3_rag_docs.collections import get_collection
from project3_rag_docs.ingestion.archive import ArchiveLimits, Member, MemberRefused, members_of
from project3_rag_docs.ingestion.download import download
from project3_rag_docs.ingestion.upload import Upload, read_upload
from project3_rag_docs.routes.documents import PATH, read_documents
from project3_rag_docs.schemas import ArchiveReport, DocumentRead, Metadata, RefusedFile, Tags, UploadFromUrl
from project3_rag_docs.settings import MIB, Settings
from shared.database.engine import Sessions, SessionsDep, transaction
from shared.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    RequestBodyTooLarge,
    ServiceError,
    StorageFull,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from shared.jobs.queue import JobsDep
from shared.outbound.fetching import FetchError
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.streaming import cancel_on_disconnect

ARCHIVE = "/archive"
ACCEPTED_FILES = "pdf, docx, pptx, xlsx, odt, rtf, epub, eml, csv, html, md or txt"
_SOURCE, _FOLDER_PATH = "source_url", "path"  # names of metadata
_MAX_VALUE_LENGTH = 1000
router = APIRouter(prefix=PATH, tags=["documents"], responses=error_responses(DatabaseUnavailable))
_ERRORS = error_responses(UnsupportedMediaType, TooManyRequests, StorageFull, NotFound, Forbidden, Conflict)
_STORED: dict[int | str, dict[str, Any]] = {
    200: {"model": DocumentRead, "description": "The same content was uploaded before; the existing document."},
    202: {"description": "Stored. A worker ingests it; `Location` is the address of the document."},
}


async def forbid_other_fields(request: Request) -> None:
    """Reject a form with unknown fields, or with several files, instead of ignoring them.

    Raises:
        RequestValidationError: if there is such a field.
    """
    names = [name for name, _ in (await request.form()).multi_items()]
    unknown = [name for name in names if name not in _FORM_FIELDS]
    if "file" in names and (unknown or any(names.count(name) > 1 for name in ("file", "metadata", "collection_id"))):
        message = "only one field `file`, one `metadata` and one `collection_id` are allowed, and any number of `tags`"
        raise RequestValidationError([{"type": "extra_forbidden", "loc": ("body", *unknown[:1]), "msg": message}])


_FORM_FIELDS = {"file", "metadata", "tags", "collection_id"}
_METADATA: TypeAdapter[dict[str, str | bool | int | float]] = TypeAdapter(Metadata)


async def read_labels(
    metadata: Annotated[
        str | None, Form(description="Metadata as a JSON object: names with texts, numbers or booleans.")
    ] = None,
    tags: Annotated[Tags | None, Form()] = None,
    collection_id: Annotated[UUID | None, Form()] = None,
) -> dict[str, Any]:
    """Return the metadata and tags of the form that are given, as arguments of `update_document`.

    Raises:
        RequestValidationError: if the metadata are no JSON object of the right form.
    """
    labels: dict[str, Any] = {} if tags is None else {"tags": tags}
    if collection_id is not None:
        labels["collection_id"] = collection_id
    if metadata is not None:
        try:
            labels["metadata"] = _METADATA.validate_json(metadata, strict=True)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            raise RequestValidationError(
                [{**problem, "loc": ("body", "metadata", *problem["loc"])} for problem in problems]
            ) from None
    return labels


async def receive_file(file: UploadFile, limit: int) -> Upload:
    """Return the file of a form.

    Raises:
        RequestBodyTooLarge: if it has more than `limit` bytes.
        UnsupportedMediaType, InvalidRequest: see `read_upload`.
    """
    if file.size is not None and file.size > limit:
        raise RequestBodyTooLarge(limit)
    return await run_in_threadpool(read_upload, file.filename or "", file.file)


@dataclass(frozen=True)
class Uploader:
    """Stores the uploads of a request. A document in a shared collection belongs to the collection's owner."""

    request: Request
    caller: UUID
    sessions: Sessions
    jobs: JobsDep

    @property
    def settings(self) -> Settings:
        """The settings of the app."""
        settings: Settings = self.request.app.state.settings
        return settings

    async def store(self, upload: Upload, labels: dict[str, Any]) -> tuple[DocumentRead, bool]:
        """Store a file, and return its document and whether its ingestion was started."""
        owner_id, collection_id = self.caller, labels.get("collection_id")
        if collection_id is not None:
            owner_id = await get_access(self.request).owner_of_collection(owner_id, collection_id, write=True)
        async with transaction(self.sessions) as session:
            if collection_id is not None:
                await get_collection(session, owner_id, collection_id, lock="reference")
            for check in self.request.app.state.upload_checks:
                await check(session, owner_id, upload.size)
            document, accepted = await documents.add_document(
                self.jobs, session, owner_id, upload, self.settings.user_ingestion_max, collection_id=collection_id
            )
            if owner_id != self.caller and document.collection_id != collection_id:
                raise Conflict("The collection's owner has another document with the same content.")
            if labels:
                document = await documents.update_document(session, owner_id, document.public_id, **labels)
            if accepted:
                await documents.check_waiting(session, owner_id, self.settings.user_documents_waiting_max)
            (read,) = await read_documents(session, [document])
        return read, accepted

    async def respond(self, upload: Upload, labels: dict[str, Any], response: Response) -> DocumentRead:
        """Store a file, and set the status and headers of the response."""
        read, accepted = await self.store(upload, labels)
        response.status_code = 202 if accepted else 200
        response.headers["Location"] = self.request.url_for("get_document", document_id=read.id).path
        return read


async def get_uploader(request: Request, owner_id: CurrentOwner, sessions: SessionsDep, jobs: JobsDep) -> Uploader:
    """Return the uploader of a request."""
    return Uploader(request, owner_id, sessions, jobs)


UploaderDep = Annotated[Uploader, Depends(get_uploader)]
Labels = Annotated[dict[str, Any], Depends(read_labels)]


@router.post(
    "",
    status_code=202,
    dependencies=[Depends(forbid_other_fields)],
    responses=_ERRORS | error_responses(RequestBodyTooLarge) | _STORED,
)
async def upload_document(
    file: Annotated[UploadFile, File(description=ACCEPTED_FILES)],
    response: Response,
    uploader: UploaderDep,
    labels: Labels,
) -> DocumentRead:
    """Upload a document. The response is sent once it is stored; `GET /documents/{id}/events` reports the progress."""
    upload = await receive_file(file, uploader.settings.max_upload_bytes)
    return await uploader.respond(upload, labels, response)


@router.post(
    "/from-url",
    status_code=202,
    responses=_ERRORS | error_responses(InvalidRequest) | _STORED,
)
async def upload_from_url(
    body: UploadFromUrl, request: Request, response: Response, uploader: UploaderDep
) -> DocumentRead:
    """Download a document from a public address, and store it as an upload. Its metadata get the `source_url`."""
    try:
        async with cancel_on_disconnect(request):
            name, file = await download(request.app.state.public_web, body.url, uploader.settings.max_upload_bytes)
    except FetchError as error:
        raise InvalidRequest(str(error)) from None
    with closing(file):
        upload = await run_in_threadpool(read_upload, body.filename or name, file)
        source = {_SOURCE: body.url} if len(body.url) <= _MAX_VALUE_LENGTH else {}
        labels: dict[str, Any] = {"metadata": source | (body.metadata or {})}
        labels |= body.model_dump(include={"tags", "collection_id"}, exclude_none=True)
        return await uploader.respond(upload, labels, response)


@router.post(
    ARCHIVE,
    status_code=202,
    dependencies=[Depends(forbid_other_fields)],
    responses=error_responses(InvalidRequest, RequestBodyTooLarge),
)
async def upload_archive(
    file: Annotated[UploadFile, File(description=f"A ZIP archive of files: {ACCEPTED_FILES}.")],
    uploader: UploaderDep,
    labels: Labels,
) -> ArchiveReport:
    """Upload the files of a ZIP archive as documents, one after another.

    Files are refused one by one, with the reason. Metadata and tags apply to all; a file in a folder gets its `path` as
    metadata. Hidden files are left out. A repeated upload continues: files with the same content are stored once.
    """
    settings = uploader.settings
    if file.size is not None and file.size > settings.max_upload_bytes:
        raise RequestBodyTooLarge(settings.max_upload_bytes)
    limits = ArchiveLimits(
        settings.archive_max_files, settings.max_upload_bytes, settings.archive_max_unpacked_mb * MIB
    )
    members = await run_in_threadpool(members_of, file.file, limits)
    report = ArchiveReport(documents=[], refused=[])
    for member in members:
        try:
            report.documents.append(await _store_member(uploader, member, labels))
        except Unavailable:
            raise  # of the service, not of the file
        except (MemberRefused, ServiceError) as error:
            reason = error.detail if isinstance(error, ServiceError) else str(error)
            report.refused.append(RefusedFile(path=member.path, reason=reason))
    return report


async def _store_member(uploader: Uploader, member: Member, labels: dict[str, Any]) -> DocumentRead:
    with closing(await run_in_threadpool(member.unpack)) as content:
        upload = await run_in_threadpool(read_upload, member.path, content)
        folder = {_FOLDER_PATH: member.path} if "/" in member.path and len(member.path) <= _MAX_VALUE_LENGTH else {}
        labels = labels | {"metadata": folder | labels.get("metadata", {})}
        read, _ = await uploader.store(upload, labels)
        return read
