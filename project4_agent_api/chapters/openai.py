"""Chapter 5.2: OpenAI's API and AG-UI. `make run-project4 CHAPTER=openai` runs it, with a worker.

Other clients on the same runs: a run that OpenAI's client starts is one like any other, on a thread, under a lease.
"""

from fastapi import FastAPI

from project4_agent_api.accounts.guards import Authenticated
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters import assistants as chapter4_1
from project4_agent_api.chapters.streams import ROUTERS as STREAMS
from project4_agent_api.chapters.streams import panels
from project4_agent_api.wires.agui import routes as agui
from project4_agent_api.wires.openai import chat, conversations, errors, models, responses
from shared.serve import serve

ROUTERS = [
    *STREAMS,
    Authenticated(models.router, chat.router, responses.router, conversations.router),
    Authenticated(agui.router),
]
ERROR_FORMS = {"/v1/": errors.error_response}


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 5.1 with OpenAI's API and AG-UI."""
    app = chapter4_1.build_chapter(
        settings,
        "5.2: OpenAI's API and AG-UI",
        "Clients of OpenAI's API and of AG-UI on the service's runs.",
        routers=ROUTERS,
        panels=panels(settings),
    )
    app.state.error_forms = ERROR_FORMS
    return app


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
