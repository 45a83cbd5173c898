"""The frozen state of a process, whose parts routes take by type."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast, get_origin, get_type_hints

from fastapi import FastAPI, Request

T = TypeVar("T")


def publish(app: FastAPI, state: Any) -> None:  # noqa: ANN401  any dataclass
    """Make the fields of a frozen dataclass available to `find` and `from_state`, by the types they declare."""
    hints = get_type_hints(type(state))
    parts = {_class_of(hints[field.name]): getattr(state, field.name) for field in fields(state)}
    app.state.by_type = parts | dict.fromkeys(type(state).__mro__, state)


def find(app: FastAPI, kind: type[T]) -> T:
    """Return the part of the state that was declared with a type. A missing one is a mistake in `bootstrap.py`."""
    by_type: Mapping[type, Any] = app.state.by_type
    return cast("T", by_type[_class_of(kind)])


def from_state(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Make a dependency that returns a part of the state: `RunsDep = Annotated[Runs, Depends(from_state(Runs))]`."""

    async def dependency(request: Request) -> T:
        return find(request.app, kind)

    return dependency


def _class_of(kind: Any) -> Any:  # noqa: ANN401  a class, or a generic alias of one
    return get_origin(kind) or kind
