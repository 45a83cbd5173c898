"""API keys of the project's own, and filters by owner; a thread may name others who share it."""

import os
from typing import Any

from langgraph_sdk import Auth

TEAMS = {"ada": "red", "bob": "blue", "eve": "red"}
auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    start, _, identity = headers.get(b"x-api-key", b"").decode().partition("key-of-")
    name = identity.partition("-")[0]
    if start or name not in TEAMS or identity == os.environ.get("REVOKED_KEY"):
        raise Auth.exceptions.HTTPException(status_code=401, detail="This key is unknown.")
    user: dict[str, Any] = {
        "identity": identity,
        "permissions": [] if name == "eve" else ["write"],
        "team": TEAMS[name],
    }
    return user


@auth.on
async def only_own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads.create
async def create_thread(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    if "write" not in ctx.permissions:
        raise Auth.exceptions.HTTPException(status_code=403, detail="This key may only read.")
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads.read
async def read_thread(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    return {"$or": [{"owner": ctx.user.identity}, {"readers": {"$contains": ctx.user.identity}}]}


@auth.on.threads.search
async def search_threads(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    return {"$or": [{"owner": {"$eq": ctx.user.identity}}, {"readers": {"$contains": [ctx.user.identity]}}]}


@auth.on.threads.update
async def update_thread(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType:
    return {"$or": [{"owner": ctx.user.identity}, {"writers": {"$contains": ctx.user.identity}}]}


@auth.on.crons.delete
async def delete_cron(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Auth.types.FilterType | bool:
    return {"owner": ctx.user.identity} if "write" in ctx.permissions else False
