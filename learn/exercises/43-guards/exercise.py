"""Uses of dependencies: a guard in front of many routes, a guard with an argument, parameters that routes share."""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException  # noqa: F401  you need them

ROLES = {"token-of-ada": "admin", "token-of-bob": "reader"}


async def current_role(x_token: Annotated[str, Header()] = "") -> str:
    """Return the role of the caller; 401 without a valid token."""
    # TODO: look the token up in ROLES; raise HTTPException(401) if it is not there
    #       在 ROLES 里查找令牌，没有就抛出 HTTPException(401)
    return "admin"


def require(role: str):
    """Return a dependency that lets only one role pass."""
    # TODO: define an async function that depends on `current_role` and raises HTTPException(403) for another role; return it
    #       定义一个依赖 current_role 的异步函数，角色不符时抛出 HTTPException(403)，并返回这个函数
    raise NotImplementedError


class Page:
    """Parameters of every list: `limit` from 1 to 100, by default 20, and `offset` from 0, by default 0."""

    # TODO: an `__init__` with both parameters; annotate them with Query, as those of a handler
    #       写一个带这两个参数的 __init__，用 Query 标注，和处理函数的参数一样


# TODO: every route of this router requires an authenticated caller: declare it once, here
#       这个路由器的所有路由都要求调用者已通过认证：只在这里声明一次
router = APIRouter()


@router.get("/notes")
async def list_notes(page: Annotated[Page, Depends()]):
    return {"limit": page.limit, "offset": page.offset}


# TODO: only admins may delete
#       只有 admin 可以删除
@router.delete("/notes")
async def delete_notes():
    return {"deleted": True}


app = FastAPI()
app.include_router(router)


@app.get("/health")
async def health():
    return {"status": "ok"}
