"""Uses of dependencies: a guard in front of many routes, a guard with an argument, parameters that routes share."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query

ROLES = {"token-of-ada": "admin", "token-of-bob": "reader"}


async def current_role(x_token: Annotated[str, Header()] = "") -> str:
    """Return the role of the caller; 401 without a valid token."""
    if x_token not in ROLES:
        raise HTTPException(401)
    return ROLES[x_token]


def require(role: str) -> Callable[..., Awaitable[None]]:
    """Return a dependency that lets only one role pass."""

    async def guard(found: Annotated[str, Depends(current_role)]) -> None:
        if found != role:
            raise HTTPException(403)

    return guard


class Page:
    """Parameters of every list: `limit` from 1 to 100, by default 20, and `offset` from 0, by default 0."""

    def __init__(
        self, limit: Annotated[int, Query(ge=1, le=100)] = 20, offset: Annotated[int, Query(ge=0)] = 0
    ) -> None:
        self.limit = limit
        self.offset = offset


router = APIRouter(dependencies=[Depends(current_role)])


@router.get("/notes")
async def list_notes(page: Annotated[Page, Depends()]) -> dict[str, int]:
    return {"limit": page.limit, "offset": page.offset}


@router.delete("/notes", dependencies=[Depends(require("admin"))])
async def delete_notes() -> dict[str, bool]:
    return {"deleted": True}


app = FastAPI()
app.include_router(router)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
