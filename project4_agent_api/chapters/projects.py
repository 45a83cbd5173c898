"""Chapter 6.1: a team's own project. `make run-project4 CHAPTER=projects` runs it, with a worker.

A `langgraph.json` may bring graphs, authentication and authorization, routes and middleware of its own. With
`LANGGRAPH_CONFIG=examples/agents/langgraph.json`, the service is that of the project.
"""

from functools import partial

from fastapi import FastAPI

from project3_rag_docs import main as stage3
from project4_agent_api import bootstrap, project_http, project_ui
from project4_agent_api.accounts.guards import xray_access
from project4_agent_api.accounts.oauth import routes as oauth
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.chapters.mcp import ERROR_FORMS, routers
from project4_agent_api.chapters.streams import panels
from project4_agent_api.core.idempotency import describe
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import NoTracing
from project4_agent_api.graphs.project_file import HttpPart
from shared.app import build_app
from shared.serve import serve


def create_app(settings: ChapterSettings) -> FastAPI:
    """Create the application: chapter 5.3 with what the project brings."""
    project = bootstrap.load_project(settings)
    project_auth = ProjectAuth.load(project, production=settings.production) if project else None
    project_app = project_http.load_app(project) if project else None
    open_api = partial(
        bootstrap.open_api,
        metrics=Metrics(),
        tracing=NoTracing(),
        project=project,
        project_auth=project_auth,
    )
    app = build_app(
        settings,
        title="Project 4, chapter 6.1: a team's own project",
        description="Graphs, authentication and routes of a `langgraph.json`.",
        routers=[*routers(settings, project_auth), *project_ui.create_routers(project)],
        resources=[
            *bootstrap.EARLIER_RESOURCES,
            open_api,
            *([project_http.running(project_app)] if project_app else []),
        ],
        panels=[] if project_auth else panels(settings),
        xray_access=None if project_auth else xray_access(auth_required=settings.auth_required),
        body_limits={**stage3.body_limits(settings), **oauth.BODY_LIMITS},
        extend_openapi=describe,
    )
    app.state.error_forms = ERROR_FORMS
    project_http.install(app, project.file.http if project else HttpPart(), project_app)
    return app


if __name__ == "__main__":
    serve(ChapterSettings, create_app)
