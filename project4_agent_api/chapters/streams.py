"""Chapter 5.1: streams and protocol. `make run-project4 CHAPTER=streams` runs it, with a worker.

A client follows a thread instead of a run: everything that happens there, from any position. The chat page and the
protocol of LangGraph's newer clients build on it. The page also shows what each run did, step by step.
"""

from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project4_agent_api.accounts.guards import Authenticated
from project4_agent_api.chapters import ChapterSettings, accounts
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters import runs as chapter4_3
from project4_agent_api.steps import routes as steps
from project4_agent_api.streams import routes as streams
from project4_agent_api.streams.protocol import routes as protocol
from shared.frontend import Panel
from shared.serve import serve

ROUTERS = [
    *chapter4_3.ROUTERS,
    Authenticated(steps.router),
    Authenticated(streams.router),
    Authenticated(protocol.router),
    protocol.sockets,
]
_PAGE = Path(__file__).parents[1] / "page"
_PANELS = [Panel(_PAGE / "chat.js"), Panel(_PAGE / "runs.js")]


def panels(settings: ChapterSettings) -> list[Panel]:
    """Return the panels of the page, with the chat and the runs."""
    if not settings.auth_required:
        return [*_PANELS, *stage3.PANELS]
    account, *others = accounts.PANELS
    return [account, *(replace(panel, audience="users") for panel in _PANELS), *others]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 4.3 with streams of threads and the chat page."""
    return chapter4_1.build_chapter(
        settings,
        "5.1: streams and protocol",
        "Streams of threads, and the protocol of LangGraph's newer clients.",
        routers=ROUTERS,
        panels=panels(settings),
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
