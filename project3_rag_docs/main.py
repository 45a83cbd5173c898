"""Stage 3, put together: stage 2, and documents with search and cited answers. `make run-project3` runs it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
from fastapi import FastAPI

from project2_user_mgmt import main as stage2
from project3_rag_docs.answers.answering import DocumentAnswerer
from project3_rag_docs.answers.chain import Steps
from project3_rag_docs.ingestion import job
from project3_rag_docs.ingestion.job import Ingestion
from project3_rag_docs.routes import answers, documents
from project3_rag_docs.search.embedding import embedding_model
from project3_rag_docs.search.rerank import AsFused, EndpointReranker
from project3_rag_docs.search.service import Searcher
from project3_rag_docs.settings import MIB, Settings
from shared.app import build_app
from shared.database.engine import create_engine, create_sessions
from shared.frontend import Panel
from shared.jobs.notifications import Notifications
from shared.jobs.queue import create_job_app, opened, working
from shared.settings import load_settings

FORM_BYTES = MIB // 16  # what stands around the file in a multipart body
_WORKER_STATEMENT_SECONDS = 300  # removing a book takes more than a request may


@asynccontextmanager
async def search(app: FastAPI) -> AsyncIterator[None]:
    """Put the embedding model, the searcher, the reranker and what answers on `app.state`."""
    settings: Settings = app.state.settings
    app.state.embeddings = embedding_model(settings, app.state.model_http)
    app.state.searcher = Searcher(
        sessions=app.state.reading,
        embeddings=app.state.embeddings,
        model=settings.embedding_model,
        dimensions=settings.embedding_dimensions,
        query_prefix=settings.query_prefix(),
    )
    async with AsyncExitStack() as stack:
        app.state.reranker = AsFused()
        if settings.rerank_base_url:
            http = await stack.enter_async_context(httpx2.AsyncClient(timeout=settings.rerank_timeout_seconds))
            app.state.reranker = EndpointReranker(
                http=http,
                url=settings.rerank_base_url,
                model=settings.rerank_model,
                api_key=settings.rerank_api_key.get_secret_value(),
                seconds=settings.rerank_timeout_seconds,
            )
        steps = Steps(app.state.searcher, app.state.reranker, app.state.chat_model, settings.context_tokens)
        app.state.document_answerer = DocumentAnswerer(steps, settings.llm_model)
        yield


@asynccontextmanager
async def jobs(app: FastAPI) -> AsyncIterator[None]:
    """Put the job engine on `app.state`, and what tells how far its jobs are."""
    app.state.jobs = create_job_app(job.TASKS)
    app.state.notifications = Notifications(app.state.settings, job.CHANNEL)
    async with opened(app.state.jobs, app.state.settings), app.state.notifications.listening():
        yield


@asynccontextmanager
async def worker(app: FastAPI) -> AsyncIterator[None]:
    """Work on documents in this process. A later stage does so in processes of its own."""
    settings: Settings = app.state.settings
    engine = create_engine(settings, statement_seconds=_WORKER_STATEMENT_SECONDS)
    sessions = create_sessions(engine)
    context = {"ingestion": Ingestion(sessions, app.state.embeddings, settings)}
    try:
        async with working(app.state.jobs, context, settings.ingestion_concurrency):
            yield
    finally:
        await engine.dispose()


ROUTERS = [
    *stage2.ROUTERS,
    documents.router,
    answers.router,
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


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application of stage 3."""
    settings = settings or load_settings(Settings)
    return build_app(
        settings,
        title="Project 3: document question answering",
        description="Stages 1 and 2, and documents that are searched and answered from, with citations.",
        routers=ROUTERS,
        resources=RESOURCES,
        panels=PANELS,
        body_limits={documents.PATH: settings.max_upload_bytes + FORM_BYTES},
    )
