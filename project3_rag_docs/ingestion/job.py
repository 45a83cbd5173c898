"""The worker's jobs: ingest a document, and purge a deleted one.

Ingestion parses the file in a child process, embeds its chunks in batches, stores each batch, and publishes the
document. When an attempt fails (the worker is killed, the embedding model is unavailable), the next one resumes after
the last stored batch.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from langchain_core.embeddings import Embeddings
from loguru import logger
from procrastinate import App, JobContext
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.ingestion.chunking import indexed_text
from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.child import ParsedChunk, ParseResult, parse, read_chunks
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.ingestion.publishing import lock_versions, publish
from project3_rag_docs.ingestion.recognition import RecognitionLimits, recognise
from project3_rag_docs.models import Chunk, Document, DocumentPart, Status
from project3_rag_docs.search import index
from project3_rag_docs.search.index import EmbeddedChunk
from project3_rag_docs.settings import MIB, Settings
from shared.database.engine import Sessions, transaction
from shared.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InputFilteredByModel,
    InputKindNotSupported,
    InputTooLongForModel,
    ModelKeyRefused,
    ModelMisconfigured,
    ModelTimeout,
    ModelUnavailable,
    ServiceError,
)
from shared.jobs.notifications import notify
from shared.jobs.queue import RetryLater

CHANNEL = "documents"  # notified with a document's public id whenever its progress or status changes
_MAX_WAIT_SECONDS = 30.0
_OUTAGE_SECONDS = 5.0  # of the database, before the next attempt
_RECOGNITION_SECONDS = 15.0  # of another document, before the next attempt
_CONCURRENT_BATCHES = 2  # per document


class Superseded(Exception):
    """The document was deleted, or another worker has claimed it, so this attempt ends."""


@dataclass(frozen=True)
class IngestionContext:
    """The dependencies of the jobs."""

    sessions: Sessions
    embeddings: Embeddings
    settings: Settings
    recognition: asyncio.Lock = field(default_factory=asyncio.Lock)  # one document at a time


async def ingest(context: JobContext, document_id: str) -> None:
    """Parse, embed and publish a document."""
    ingestion: IngestionContext = context.additional_context["ingestion"]
    attempt = _Attempt(ingestion, context.app, UUID(document_id))
    try:
        await attempt.run()
    except Superseded:
        logger.info("document {}: deleted, or claimed by another worker", document_id)
    except RetryLater as error:
        raise RetryLater(error.seconds, lock=f"ingest {document_id}") from None
    except UnreadableDocument as error:
        await attempt.fail(str(error))
    except (DatabaseUnavailable, ConfigurationError) as error:
        logger.warning("document {}: ingestion is postponed: {}", document_id, error)
        seconds = _OUTAGE_SECONDS if isinstance(error, DatabaseUnavailable) else _MAX_WAIT_SECONDS
        raise RetryLater(seconds, lock=f"ingest {document_id}") from None
    except ServiceError as error:  # of the embedding model
        await attempt.fail(f"The document could not be embedded: {_explain(error)}")
    except Exception as error:  # noqa: BLE001  the document must not stay `processing` for ever
        logger.opt(exception=error).error("document {}: unexpected {}", document_id, type(error).__name__)
        await attempt.fail("An internal error occurred while the document was read.")


async def purge(context: JobContext, document_id: str) -> None:
    """Delete the rows of a document that is marked as deleted."""
    ingestion: IngestionContext = context.additional_context["ingestion"]
    try:
        async with transaction(ingestion.sessions) as session:
            await index.delete_rows(session, UUID(document_id))
    except DatabaseUnavailable:
        raise RetryLater(_OUTAGE_SECONDS) from None


TASKS = {"ingest": ingest, "purge": purge}


class _Attempt:
    """One attempt to ingest a document."""

    def __init__(self, ingestion: IngestionContext, jobs: App, document_id: UUID) -> None:
        self._jobs = jobs
        self._sessions = ingestion.sessions
        self._embeddings = ingestion.embeddings
        self._settings = ingestion.settings
        self._recognition = ingestion.recognition
        self._id = document_id
        self._claim = uuid4()

    async def run(self) -> None:
        """Ingest the document, resuming after the last stored batch.

        Raises:
            Superseded: if the document was deleted or claimed by another worker.
            UnreadableDocument: if no text can be extracted from the file.
            MODEL_ERRORS: if the embedding model failed for too long, or refuses the document.
            DatabaseUnavailable: if the database is unavailable.
            ConfigurationError: if the index belongs to another model.
        """
        media_type, public_id = await self._claim_document()
        with tempfile.TemporaryDirectory(prefix="ingestion-") as folder:
            file, chunks = Path(folder, "file"), Path(folder, "chunks.jsonl")
            await write_file(self._sessions, self._id, file)
            parsed = await self._parse(file, media_type, chunks)
            start = await self._resume(chunks, parsed.chunks)
            await self._embed_and_store(chunks, start)
        async with self._claimed_document(versions_of=public_id) as (session, document):
            document.notice = parsed.notice
            await publish(self._jobs, session, document)
        logger.info("document {}: ready, {} chunks", self._id, parsed.chunks)

    async def fail(self, reason: str) -> None:
        """Mark the document as failed."""
        try:
            async with self._claimed_document() as (_, document):
                document.status, document.error, document.claim = Status.FAILED, reason, None
        except Superseded:
            return
        except DatabaseUnavailable:
            raise RetryLater(_OUTAGE_SECONDS) from None
        logger.warning("document {}: failed: {}", self._id, reason)

    async def _claim_document(self) -> tuple[MediaType, UUID]:
        async with transaction(self._sessions) as session:
            await index.claim_index(session, self._settings)
            wanted = (col(Document.id) == self._id, col(Document.status) == Status.PROCESSING)
            claim = update(Document).where(*wanted).values(claim=self._claim)
            claimed = await session.execute(claim.returning(col(Document.media_type), col(Document.public_id)))
            row = claimed.one_or_none()
        if row is None:
            raise Superseded
        return MediaType(row.media_type), row.public_id

    @asynccontextmanager
    async def _claimed_document(self, versions_of: UUID | None = None) -> AsyncIterator[tuple[AsyncSession, Document]]:
        """Open a transaction that locks the document, if this attempt still holds the claim; notify at its end.

        Args:
            versions_of: The document whose versions are locked before.
        """
        async with transaction(self._sessions) as session:
            if versions_of is not None:
                await lock_versions(session, versions_of)
            query = select(Document).where(
                col(Document.id) == self._id,
                col(Document.status) == Status.PROCESSING,
                col(Document.claim) == self._claim,
            )
            document = await session.scalar(query.with_for_update())
            if document is None:
                raise Superseded
            yield session, document
            await notify(session, CHANNEL, str(document.public_id))

    async def _parse(self, file: Path, media_type: MediaType, chunks: Path) -> ParseResult:
        """Parse the file; if pages have no usable text, recognise it and parse the file again.

        Raises:
            RetryLater: if another document is being recognised, so that waiting documents do not hold up the others.
        """
        recognises = self._settings.recognises_text()
        try:
            parsed = await parse(file, media_type, self._settings.parse_limits(), into=chunks)
        except UnreadableDocument as error:
            if not error.pages or not recognises:
                raise
            pages = error.pages
        else:
            if not parsed.unreadable_pages or not recognises:
                return parsed
            pages = tuple(parsed.unreadable_pages)
        if self._recognition.locked():
            raise RetryLater(_RECOGNITION_SECONDS)
        texts: dict[int, str] = {}
        async with self._recognition, aclosing(recognise(file, pages, self._recognition_limits())) as recognised:
            async for number, text in recognised:
                texts[number] = text
                async with self._claimed_document():  # ends if the document was deleted
                    pass
        return await parse(file, media_type, self._settings.parse_limits(), into=chunks, recognised=texts)

    def _recognition_limits(self) -> RecognitionLimits:
        settings = self._settings
        return RecognitionLimits(settings.ocr_page_seconds, settings.ocr_memory_mb * MIB, settings.ocr_max_pages)

    async def _resume(self, chunks: Path, total: int) -> int:
        """Return the number of chunks that are stored already; 0 after discarding those that were cut differently."""
        async with self._claimed_document() as (session, document):
            stored = document.chunk_count
            document.chunk_total = total
            if stored:
                last = await session.scalar(
                    select(col(Chunk.text)).where(col(Chunk.document_id) == self._id, col(Chunk.index) == stored - 1)
                )
                parsed = next(read_chunks(chunks, stored - 1), None)
                if parsed is None or parsed.text != last:  # stored by a version with another chunking
                    await index.delete_chunks(session, document)
                    stored = document.chunk_count = 0
        return stored

    async def _embed_and_store(self, chunks: Path, start: int) -> None:
        """Embed the chunks and store them in order. The next batch is sent while the model embeds the current one."""
        batches = _batches(read_chunks(chunks, start), self._settings.embedding_batch_size)
        tasks: deque[asyncio.Task[list[EmbeddedChunk]]] = deque()
        try:
            while True:
                while len(tasks) < _CONCURRENT_BATCHES and (batch := await asyncio.to_thread(next, batches, None)):
                    tasks.append(asyncio.create_task(self._embed_batch(start, batch)))
                    start += len(batch)
                if not tasks:
                    return
                await self._store(await tasks.popleft())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _store(self, chunks: Sequence[EmbeddedChunk]) -> None:
        async with self._claimed_document() as (session, document):
            await index.lock_index(session, self._settings)
            await index.store_chunks(session, document, chunks)
            document.chunk_count += len(chunks)

    async def _embed_batch(self, start: int, batch: Sequence[ParsedChunk]) -> list[EmbeddedChunk]:
        vectors = await self._embed_texts(batch)
        return [
            EmbeddedChunk(index_in_document, chunk, vector)
            for index_in_document, (chunk, vector) in enumerate(zip(batch, vectors, strict=True), start)
        ]

    async def _embed_texts(self, batch: Sequence[ParsedChunk]) -> list[list[float]]:
        """Embed a batch, retrying with a growing delay while the model is unavailable."""
        prefix = self._settings.passage_prefix()
        texts = [prefix + indexed_text(chunk.heading, chunk.text) for chunk in batch]
        wait, waited = 1.0, 0.0
        while True:
            try:
                return await self._embeddings.aembed_documents(texts)
            except (ModelUnavailable, ModelKeyRefused, ModelTimeout) as error:
                # A refused parameter stays refused until a restart; a key or a quota may be renewed in the meantime.
                if waited >= self._settings.ingestion_patience_seconds or getattr(error, "restart", False):
                    raise
                logger.warning("document {}: waiting for the embedding model: {}", self._id, error.detail)
            async with self._claimed_document():  # stops waiting if the document was deleted
                pass
            await asyncio.sleep(wait)
            waited += wait
            wait = min(2 * wait, _MAX_WAIT_SECONDS)


def _explain(error: ServiceError) -> str:
    match error:
        case InputFilteredByModel():
            return "The content filter of the embedding model rejects a part of it."
        case InputTooLongForModel():
            return "A passage is too long for the embedding model, also in parts."
        case InputKindNotSupported():
            return "The embedding model does not take a part of it."
        case ModelMisconfigured() | ModelKeyRefused():
            return f"{error.detail} Upload the file again when an administrator has corrected this."
        case _:
            return f"{error.detail} Upload the file again to resume."


def _batches(chunks: Iterator[ParsedChunk], size: int) -> Iterator[list[ParsedChunk]]:
    while batch := list(islice(chunks, size)):
        yield batch


async def write_file(sessions: Sessions, document_id: UUID, path: Path) -> None:
    """Write a document's file to the disk."""
    with path.open("wb") as copy:
        async for part in read_parts(sessions, document_id):
            await asyncio.to_thread(copy.write, part)


async def read_parts(sessions: Sessions, document_id: UUID) -> AsyncIterator[bytes]:
    """Yield a document's file in parts, without holding a database connection between them."""
    number = 0
    while True:
        async with transaction(sessions) as session:
            part = await session.scalar(
                select(col(DocumentPart.data)).where(
                    col(DocumentPart.document_id) == document_id, col(DocumentPart.index) == number
                )
            )
        if part is None:
            return
        yield part
        number += 1
