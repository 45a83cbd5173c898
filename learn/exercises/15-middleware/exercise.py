"""Middleware: code around every request; and a value that follows a request."""

from contextvars import ContextVar

from fastapi import Depends, FastAPI, Request  # noqa: F401  you need them

app = FastAPI()
request_id: ContextVar[str] = ContextVar("request_id", default="-")
LINES: list[str] = []


def log(text):
    """Stands for a logger: each line has the identifier of its request."""
    LINES.append(f"{request_id.get()} {text}")


# TODO: A middleware takes the identifier from the header `X-Request-ID`, or "new" if there is none, sets `request_id`, and
#       returns it in the response's header of the same name.
#       中间件：从请求头 X-Request-ID 取编号（没有就用 "new"），设置 request_id，并写进响应的同名响应头。


async def require_key(request: Request):
    """Refuse a request without a key. This concerns some routes only, so it is a dependency."""
    log(f"key {request.headers.get('x-api-key', 'missing')}")


@app.get("/health")
async def health():
    log("health")
    return "ok"


# TODO: `require_key` belongs to this route alone: name it in the decorator, `dependencies=[…]`.
#       require_key 只属于这个路由：写在装饰器的 dependencies=[…] 里。
@app.get("/answers")
async def answers():
    log("answers")
    return []
