"""Parameters of a project's `@auth.authenticate` handler that have a `Depends` of FastAPI."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant, solve_dependencies  # there is no public name of either
from fastapi.params import Depends
from starlette.requests import HTTPConnection, Request

from shared.errors import ConfigurationError, Unauthorized


@dataclass(frozen=True)
class HandlerDependencies:
    """The dependencies of a handler, with theirs. FastAPI reads headers, cookies and the query for them."""

    dependant: Dependant | None

    @classmethod
    def from_handler(cls, handler: Callable[..., Any], where: str) -> "HandlerDependencies":
        """Find the dependencies of a handler.

        Raises:
            ConfigurationError: with one line that names their fault.
        """
        signature = _signature(handler)
        parameters = [parameter for parameter in signature.parameters.values() if _is_dependency(parameter)]
        if not parameters:
            return cls(None)

        def call() -> None: ...

        keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        call.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]  # that `inspect` reads
        try:
            return cls(get_dependant(path="", call=call))
        except Exception as error:  # noqa: BLE001  any fault of the project's code
            raise ConfigurationError(f"{where}: a dependency of its @auth.authenticate handler: {error}") from None

    def __contains__(self, parameter: str) -> bool:
        """Return whether a parameter of the handler is a dependency."""
        return self.dependant is not None and any(
            dependency.name == parameter for dependency in self.dependant.dependencies
        )

    @asynccontextmanager
    async def solved(self, connection: HTTPConnection) -> AsyncIterator[dict[str, Any]]:
        """Provide the dependencies' values; generators go on when the block ends.

        Raises:
            Unauthorized: if the request lacks something that a dependency requires, such as a header.
        """
        if self.dependant is None:
            yield {}
            return
        async with AsyncExitStack() as stack:
            stacks = {"fastapi_inner_astack": stack, "fastapi_function_astack": stack}
            # A WebSocket is authenticated by its handshake, which is a GET.
            handshake = {"type": "http", "method": connection.scope.get("method", "GET")}
            solved = await solve_dependencies(
                request=Request({**connection.scope, **handshake, **stacks}),
                dependant=self.dependant,
                async_exit_stack=stack,
                embed_body_fields=False,
            )
            if solved.errors:
                raise Unauthorized("The credentials of this request are not complete.")
            yield solved.values


def _signature(handler: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(handler, eval_str=True)
    except NameError:  # a name that only type checkers import
        return inspect.signature(handler)


def _is_dependency(parameter: inspect.Parameter) -> bool:
    annotated = get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else ()
    return any(isinstance(annotation, Depends) for annotation in (*annotated, parameter.default))
