"""The application factory: what is the same in every stage, put together once."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from shared.background import background_task
from shared.errors import InvalidRequest, RequestBodyTooLarge, ServiceError, UnreadableBody
from shared.frontend import Panel, install_docs, install_page
from shared.health import Checks
from shared.middleware import BodyGuard, RequestContext
from shared.problems import PROBLEM_JSON, Problem, ValidationProblem, error_responses, install_error_handlers
from shared.settings import Settings
from shared.shutdown import Shutdown

# Puts what it opens on `app.state`, and closes it when the block ends.
Resource = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
_READABLE_HEADERS = (
    "Content-Location",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Pagination-Next",
    "X-Pagination-Total",
    "X-Request-ID",
)


def build_app(
    settings: Settings,
    *,
    title: str,
    description: str,
    routers: Sequence[APIRouter],
    resources: Sequence[Resource],
    panels: Sequence[Panel],
    body_limits: Mapping[str, int] = MappingProxyType({}),
    describe: Callable[[dict[str, Any]], None] = lambda _: None,
) -> FastAPI:
    """Make a stage's application.

    Args:
        settings: The stage's own.
        title: Shown in `/docs` and on the page.
        description: Markdown, shown in `/docs`.
        routers: In the order in which they are shown.
        resources: Opened in this order before the first request, closed in the reverse order after the last.
        panels: Of the page at `/`, one for each thing that a stage adds.
        body_limits: The largest body in bytes of each path that takes files; for all others it is `MAX_BODY_KB`.
        describe: Adds to the OpenAPI document what no route knows of itself.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource(app))
            await stack.enter_async_context(background_task(app.state.checks.say_when_ready()))
            yield

    app = Service(
        describe,
        title=title,
        description=description,
        version="0.1.0",
        root_path=settings.root_path,
        lifespan=lifespan,
        middleware=[
            _cors(settings),
            Middleware(RequestContext),
            Middleware(BodyGuard, limit_bytes=settings.max_body_kb * 1024, of_path=body_limits),
        ],
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.settings = settings
    app.state.checks = Checks()
    app.state.shutdown = Shutdown()
    install_error_handlers(app)
    for router in routers:
        app.include_router(router)
    install_docs(app)
    install_page(app, panels)
    return app


def _cors(settings: Settings) -> Middleware:
    origins = settings.cors_origins
    anywhere_local = origins is None and not settings.production
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins or ()),
        allow_origin_regex=_LOOPBACK_ORIGIN if anywhere_local else None,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_READABLE_HEADERS,
    )


class Service(FastAPI):
    """FastAPI whose OpenAPI document shows errors as they are sent: `application/problem+json`.

    Args:
        describe: Adds to the document what no route knows of itself.
        options: FastAPI's own.
    """

    def __init__(self, describe: Callable[[dict[str, Any]], None], **options: Any) -> None:
        super().__init__(**options)
        self._describe = describe

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made at the first call."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (Problem, ValidationProblem):
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= schema.pop("$defs", {})
                schemas[model.__name__] = schema
            self._describe(document)
            for path in document["paths"].values():
                for operation in path.values():
                    _describe_errors(operation)
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return self.openapi_schema or {}


def _describe_errors(operation: dict[str, Any]) -> None:
    """Add to an operation the errors that it answers with before its own code is reached."""
    kinds: list[type[ServiceError]] = []
    if "requestBody" in operation:
        kinds += [UnreadableBody, RequestBodyTooLarge]
    if "requestBody" in operation or "parameters" in operation:
        kinds += [InvalidRequest]
    add_errors(operation, *kinds)


def add_errors(operation: dict[str, Any], *kinds: type[ServiceError]) -> None:
    """Add errors to an operation of an OpenAPI document, beside those that it has described of itself."""
    responses = operation["responses"]
    kinds = tuple(kind for kind in kinds if kind.__name__ not in _examples(responses, kind.status))
    for number, ours in error_responses(*kinds).items():
        status = str(number)
        own = responses.get(status, {}).get("content", {}).get(PROBLEM_JSON)
        if own:  # the operation has described this status for a reason of its own
            ours["description"] += f"; or: {responses[status]['description']}"
            ours["content"][PROBLEM_JSON]["examples"] |= own["examples"]
        responses[status] = ours
    operation["responses"] = dict(sorted(responses.items()))


def _examples(responses: Mapping[str, Any], status: int) -> Mapping[str, Any]:
    examples: Mapping[str, Any] = (
        responses.get(str(status), {}).get("content", {}).get(PROBLEM_JSON, {}).get("examples", {})
    )
    return examples
