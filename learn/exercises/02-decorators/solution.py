"""A decorator: a function that takes a function, and returns another one."""

from collections.abc import Callable


def shout(function: Callable[[str], str]) -> Callable[[str], str]:
    """Make the text that a function returns upper case."""

    def wrapper(name: str) -> str:
        return function(name).upper()

    return wrapper


def register(routes: dict[str, Callable[[], str]]) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Return a decorator that stores a function in `routes` under its name."""

    def decorator(function: Callable[[], str]) -> Callable[[], str]:
        routes[function.__name__] = function
        return function

    return decorator


ROUTES: dict[str, Callable[[], str]] = {}


@shout
def greet(name: str) -> str:
    return f"hello {name}"


@register(ROUTES)
def health() -> str:
    return "ok"
