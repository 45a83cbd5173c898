"""The application factory of all stages."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from shared.background import background_task
from shared.errors import ConfigurationError, InvalidRequest, RequestBodyTooLarge, ServiceError, UnreadableBody
from shared.frontend import Panel, install_docs, install_page
from shared.health import Checks
from shared.middleware import BodyGuard, RequestContext
from shared.origins import HostGuard, Origins, listens_on_loopback
from shared.problems import PROBLEM_JSON, Problem, ValidationProblem, error_responses, install_error_handlers
from shared.settings import Settings
from shared.shutdown import Shutdown
from shared.xray.access import Access, Xray

# Opens something, puts it on `app.state`, and closes it when the block ends.
Resource = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_EXPOSED_HEADERS = (
    "Content-Location",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Mcp-Session-Id",
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
    development_origins: Collection[str] = (),
    extend_openapi: Callable[[dict[str, Any]], None] = lambda _: None,
    guard_docs: Callable[[APIRouter], APIRouter] = lambda router: router,
    xray_access: Access | None = None,
) -> FastAPI:
    """Create a stage's application.

    Args:
        title: Shown in `/docs` and on the page.
        description: Markdown, shown in `/docs`.
        routers: In the order in which `/docs` shows them.
        resources: Opened in this order before the first request, and closed in reverse order after the last.
        panels: Panels of the page at `/`, one for each feature.
        body_limits: Maximum body size in bytes of each path that accepts files; `MAX_BODY_KB` applies to all others.
        extend_openapi: Changes the OpenAPI document in place.
        guard_docs: Wraps the routes of `/docs` and `/openapi.json`.
        xray_access: Who sees the X-ray of requests, where it is enabled; None to serve it to nobody.

    Raises:
        ConfigurationError: if the X-ray is enabled and cannot be.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource(app))
            await stack.enter_async_context(background_task(app.state.checks.log_until_ready()))
            yield

    xray = _create_xray(settings, xray_access)
    origins = Origins.from_settings(settings, development_origins)
    is_local = not settings.production and listens_on_loopback(settings)
    app = ProblemDetailsAPI(
        extend_openapi,
        title=title,
        description=description,
        version="0.1.0",
        root_path=settings.root_path,
        lifespan=lifespan,
        middleware=[
            _cors(origins),
            Middleware(RequestContext),
            *([Middleware(HostGuard, origins=settings.cors_origins or ())] if is_local else []),
            Middleware(BodyGuard, limit_bytes=settings.max_body_kb * 1024, path_limits=body_limits),
        ],
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        openapi_url=None,  # `install_docs` serves it
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        **_xray_options(xray),
    )
    app.state.settings = settings
    app.state.xray = xray
    app.state.origins = origins
    app.state.checks = Checks()
    app.state.shutdown = Shutdown()
    install_error_handlers(app)
    if xray:
        from shared.xray.install import install_xray, serve_xray  # noqa: PLC0415  its libraries are for this only

        install_xray(app, xray)
        panels = [*panels, serve_xray(app, xray_access)] if xray_access else panels
    for router in routers:
        app.include_router(router)
    install_docs(app, guard_docs)
    install_page(app, panels)
    return app


def _create_xray(settings: Settings, access: Access | None) -> Xray | None:
    if not settings.xray_enabled:
        return None
    if not listens_on_loopback(settings):
        raise ConfigurationError("XRAY_ENABLED needs a HOST on loopback: the X-ray shows prompts and SQL")
    try:
        from shared.xray.install import create_xray  # noqa: PLC0415  likewise
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"XRAY_ENABLED needs the package {error.name}; `make setup` installs it") from None
    return create_xray(settings, access or Access())


def _xray_options(xray: Xray | None) -> dict[str, Any]:
    if xray is None:
        return {}
    from shared.xray.install import telemetry_for  # noqa: PLC0415  likewise

    return {"telemetry": telemetry_for(xray.recorder.provider)}


def _cors(origins: Origins) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=origins.names,
        allow_origin_regex=origins.pattern,
        allow_private_network=True,  # a page of the internet may call this machine, if its origin is admitted
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )


class ProblemDetailsAPI(FastAPI):
    """FastAPI with an OpenAPI document that describes errors as `application/problem+json`.

    Args:
        extend_openapi: Changes the document in place.
    """

    def __init__(self, extend_openapi: Callable[[dict[str, Any]], None], **options: Any) -> None:
        super().__init__(**options)
        self._extend_openapi = extend_openapi

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, generated by the first call."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (Problem, ValidationProblem):
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= schema.pop("$defs", {})
                schemas[model.__name__] = schema
            self._extend_openapi(document)
            for path in document["paths"].values():
                for operation in path.values():
                    _add_request_errors(operation)
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return self.openapi_schema or {}


def _add_request_errors(operation: dict[str, Any]) -> None:
    """Add the errors that FastAPI and the middleware respond with before the route runs."""
    kinds: list[type[ServiceError]] = []
    if "requestBody" in operation:
        kinds += [UnreadableBody, RequestBodyTooLarge]
    if "requestBody" in operation or "parameters" in operation:
        kinds += [InvalidRequest]
    add_error_responses(operation, *kinds)


def add_error_responses(operation: dict[str, Any], *kinds: type[ServiceError]) -> None:
    """Add errors to an operation of an OpenAPI document, in addition to those that its route declares."""
    responses = operation["responses"]
    kinds = tuple(kind for kind in kinds if kind.__name__ not in _examples(responses, kind.status))
    for number, response in error_responses(*kinds).items():
        status = str(number)
        declared = responses.get(status, {}).get("content", {}).get(PROBLEM_JSON)
        if declared:  # the route declares another error with this status
            response["description"] += f"; or: {responses[status]['description']}"
            response["content"][PROBLEM_JSON]["examples"] |= declared["examples"]
        responses[status] = response
    operation["responses"] = dict(sorted(responses.items()))


def _examples(responses: Mapping[str, Any], status: int) -> Mapping[str, Any]:
    examples: Mapping[str, Any] = (
        responses.get(str(status), {}).get("content", {}).get(PROBLEM_JSON, {}).get("examples", {})
    )
    return examples
