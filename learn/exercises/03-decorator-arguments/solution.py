"""A decorator with arguments, for functions of every signature."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def retry(times: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that calls a function again when it raises ConnectionError, up to `times` calls in all."""

    def decorator(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            for _ in range(times - 1):
                try:
                    return function(*args, **kwargs)
                except ConnectionError:
                    continue
            return function(*args, **kwargs)

        return wrapper

    return decorator
