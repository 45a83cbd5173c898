"""A route that needs the project's authentication, which runs before the project's middleware."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SEEN = []


class CountUsers:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if "user" in scope:
            SEEN.append(scope["user"].identity)
        await self.app(scope, receive, send)


async def whoami(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse({"name": user.display_name, "team": user["team"], "scopes": request.auth.scopes})


async def seen(request: Request) -> JSONResponse:
    return JSONResponse(SEEN)


app = Starlette(routes=[Route("/whoami", whoami), Route("/seen", seen)], middleware=[Middleware(CountUsers)])
