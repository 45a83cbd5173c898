"""Hooks with which later stages react to changed and deleted users. Stage 2 itself registers none.

A later stage registers its functions at startup, and does not need to know which routes change users.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request

UserHook = Callable[[UUID], Awaitable[None]]


@dataclass(frozen=True)
class UserHooks:
    """Functions that are called with the id of a user.

    Attributes:
        on_user_changed: Called after the commit of a change or a deletion, and before the response is sent.
        on_user_deleted: Called before the user's row is deleted, outside its transaction. If one fails, the user stays,
            and the request can be repeated.
    """

    on_user_changed: list[UserHook] = field(default_factory=list)
    on_user_deleted: list[UserHook] = field(default_factory=list)

    @asynccontextmanager
    async def change(self, user_id: UUID) -> AsyncIterator[None]:
        """Call `on_user_changed` at the end of the block, even if it fails: a commit may succeed unnoticed."""
        try:
            yield
        finally:
            for hook in self.on_user_changed:
                await hook(user_id)

    async def before_deletion(self, user_id: UUID) -> None:
        """Call `on_user_deleted`."""
        for hook in self.on_user_deleted:
            await hook(user_id)


@asynccontextmanager
async def user_hooks(app: FastAPI) -> AsyncIterator[None]:
    """Put the hooks of the app on `app.state`, without subscribers."""
    app.state.user_hooks = UserHooks()
    yield


async def get_user_hooks(request: Request) -> UserHooks:
    """Return the hooks of the app."""
    hooks: UserHooks = request.app.state.user_hooks
    return hooks


UserHooksDep = Annotated[UserHooks, Depends(get_user_hooks)]
