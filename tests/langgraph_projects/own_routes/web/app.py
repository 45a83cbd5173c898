"""Routes, middleware and a lifespan of the project's own."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict]:
    app.state.greeting = os.environ["GREETING"]
    yield {"opened": True}
    app.state.greeting = "closed"


app = FastAPI(lifespan=lifespan)


class Doubled(BaseModel):
    number: int


class NoSuchThing(Exception):
    pass


@app.exception_handler(NoSuchThing)
async def missing(request: Request, error: NoSuchThing) -> JSONResponse:
    return JSONResponse({"nothing": request.url.path}, status_code=418)


@app.middleware("http")
async def stamp(request: Request, call_next):
    if request.headers.get("x-block"):
        return JSONResponse({"blocked": True}, status_code=451)
    response = await call_next(request)
    response.headers["X-Stamp"] = "own middleware"
    return response


@app.get("/hello")
async def hello(request: Request) -> dict:
    return {"greeting": request.app.state.greeting, "opened": request.state.opened}


@app.post("/double")
async def double(body: Doubled) -> Doubled:
    return Doubled(number=body.number * 2)


@app.get("/teapot")
async def teapot() -> None:
    raise NoSuchThing


@app.get("/denied")
async def denied() -> None:
    raise HTTPException(403, "Not here.")


@app.get("/info")
async def info() -> dict:
    return {"mine": True}
