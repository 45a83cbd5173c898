"""Paths of requests, as the routes of the application have them."""

from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """Return the path of a request without `root_path`, which a server may have put in front of it.

    A proxy may also leave it out: below `/a`, the path `/assistants` is that of a route.
    """
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    return path.removeprefix(root_path) if path == root_path or path.startswith(f"{root_path}/") else path
