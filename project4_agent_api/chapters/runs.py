"""Chapter 4.3: runs and workers. `make run-project4 CHAPTER=runs` runs it, with a worker.

Runs replace the chat. The API stores a run and answers at once; a worker, a process of its own, claims and executes it,
and its events reach any client through Redis.
"""

from fastapi import FastAPI

from project4_agent_api.accounts.guards import Authenticated
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters import threads as chapter4_2
from project4_agent_api.runs import routes as runs
from shared.serve import serve

ROUTERS = [*chapter4_2.ROUTERS, Authenticated(runs.router)]


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 4.2 with runs instead of the chat."""
    return chapter4_1.build_chapter(
        settings,
        "4.3: runs and workers",
        "Durable runs of graphs, executed by workers.",
        routers=ROUTERS,
    )


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
