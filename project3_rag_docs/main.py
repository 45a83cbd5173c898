"""The application of stage 3: stage 2, plus documents with search and cited answers. `make run-project3` starts it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from project2_user_mgmt import main as stage2
from project3_rag_docs.access import DocumentAccess
from project3_rag_docs.answers.answering import DocumentAnswerer
from project3_rag_docs.answers.chain import Steps
from project3_rag_docs.answers.summaries import Summarizer
from project3_rag_docs.ingestion import job
from project3_rag_docs.ingestion.job import IngestionContext
from project3_rag_docs.routes import answers, collections, documents, listing, pages, summaries, uploads, versions
from project3_rag_docs.search.embedding import create_embedding_model
from project3_rag_docs.search.rerank import EndpointReranker, PassthroughReranker
from project3_rag_docs.search.service import Searcher
from project3_rag_docs.settings import MIB, Settings
from shared.app import build_app
from shared.database.address import is_transaction_pooler
from shared.database.engine import create_engine, create_session_factory
from shared.frontend import Panel
from shared.jobs.notifications import NotificationListener
from shared.jobs.queue import create_job_app, open_job_app, run_worker
from shared.outbound.fetching import PublicWeb
from shared.settings import load_settings
from shared.xray.access import EVERYONE

_DRAWN_AT_ONCE = 2  # pages of PDFs, per process
_FORM_OVERHEAD_BYTES = MIB // 16  # the rest of a multipart body
_WORKER_STATEMENT_SECONDS = 300  # deleting a book takes longer than a request may


@asynccontextmanager
async def search(app: FastAPI) -> AsyncIterator[None]:
    """Put the embedding model, the searcher, the reranker and the answerer on `app.state`."""
    settings: Settings = app.state.settings
    app.state.embeddings = create_embedding_model(settings, app.state.model_http)
    app.state.searcher = Searcher(
        # Statements need the settings of the first one: through a pooler only a transaction keeps them.
        sessions=app.state.sessions if is_transaction_pooler(settings.database_url) else app.state.reading,
        embeddings=app.state.embeddings,
        model=settings.embedding_model,
        dimensions=settings.embedding_dimensions,
        query_prefix=settings.query_prefix(),
    )
    async with AsyncExitStack() as stack:
        app.state.reranker = PassthroughReranker()
        if settings.rerank_base_url:
            http = await stack.enter_async_context(httpx2.AsyncClient(timeout=settings.rerank_timeout_seconds))
            app.state.reranker = EndpointReranker(
                http=http,
                url=settings.rerank_base_url,
                model=settings.rerank_model,
                api_key=settings.rerank_api_key.get_secret_value(),
                seconds=settings.rerank_timeout_seconds,
            )
        app.state.document_access = DocumentAccess()
        steps = Steps(
            app.state.searcher,
            app.state.reranker,
            app.state.chat_model,
            settings.context_tokens,
            settings.answer_min_score,
            app.state.document_access,
        )
        app.state.summarizer = Summarizer(
            app.state.sessions,
            app.state.chat_model,
            settings.llm_model,
            settings.context_tokens,
            asyncio.Semaphore(settings.summary_concurrency),
        )
        app.state.summaries = Counter()  # that are being made, by user
        app.state.drawings = Counter()  # likewise
        app.state.drawing = asyncio.Semaphore(_DRAWN_AT_ONCE)
        app.state.document_answerer = DocumentAnswerer(steps, settings.llm_model)
        yield


@asynccontextmanager
async def jobs(app: FastAPI) -> AsyncIterator[None]:
    """Put the job engine and the listener for progress notifications on `app.state`."""
    app.state.upload_checks = []  # stage 4 adds the quota
    app.state.public_web = PublicWeb(app.state.settings.download_timeout_seconds)
    app.state.jobs = create_job_app(job.TASKS)
    app.state.notifications = NotificationListener(app.state.settings, job.CHANNEL)
    async with open_job_app(app.state.jobs, app.state.settings), app.state.notifications.listen():
        yield


@asynccontextmanager
async def worker(app: FastAPI, **context: Any) -> AsyncIterator[None]:
    """Ingest documents in this process. Stage 4 does so in separate worker processes."""
    settings: Settings = app.state.settings
    engine = create_engine(settings, statement_timeout=_WORKER_STATEMENT_SECONDS)
    sessions = create_session_factory(engine)
    context["ingestion"] = IngestionContext(sessions, app.state.embeddings, settings)
    try:
        async with run_worker(app.state.jobs, context, settings.ingestion_concurrency):
            yield
    finally:
        await engine.dispose()


DOCUMENT_ROUTERS = [
    uploads.router,
    listing.router,
    documents.router,
    pages.router,
    versions.router,
    answers.router,
    summaries.router,
    collections.router,
]
ROUTERS = [
    *stage2.ROUTERS,
    *DOCUMENT_ROUTERS,
]
RESOURCES = [
    *stage2.RESOURCES,
    search,
    jobs,
    worker,
]
PANEL = Panel(Path(__file__).parent / "page" / "documents.js")
PANELS = [
    *stage2.PANELS,
    PANEL,
]


def body_limits(settings: Settings) -> dict[str, int]:
    """Return the maximum body size in bytes of each path that accepts files."""
    limit = settings.max_upload_bytes + _FORM_OVERHEAD_BYTES
    return dict.fromkeys([documents.PATH + path for path in ("", uploads.ARCHIVE, versions.VERSIONS)], limit)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application of stage 3."""
    settings = settings or load_settings(Settings)
    return build_app(
        settings,
        title="Project 3: document question answering",
        description="Stages 1 and 2, plus document search and answers with citations.",
        routers=ROUTERS,
        resources=RESOURCES,
        panels=PANELS,
        xray_access=EVERYONE,
        body_limits=body_limits(settings),
    )
