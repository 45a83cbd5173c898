"""Small project of stage 5: what stands in front of an expensive answer: sign-in, limit, cache and log."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from jose import JWTError, jwt

PASSWORDS = {"ada": "correct horse", "bob": "battery staple"}  # in earnest: hashes, in a database


@dataclass
class Gate:
    """The parts that the application uses.

    Attributes:
        clock: Returns the time in seconds.
        answer: The expensive function.
    """

    secret: str
    clock: Callable[[], float]
    answer: Callable[[str], str]
    lines: list[str] = field(default_factory=list)
    limit: int = 3  # questions a minute for each user
    lifetime: float = 60.0  # seconds of a cached answer, and of a token


def create_app(gate: Gate) -> FastAPI:
    """Return the application."""
    app = FastAPI()
    asked: dict[tuple[str, int], int] = {}
    cache: dict[tuple[str, str], tuple[float, str]] = {}

    @app.post("/token")
    async def token(user: str, password: str) -> dict[str, str]:
        if PASSWORDS.get(user) != password:
            raise HTTPException(401)
        claims = {"sub": user, "exp": int(gate.clock() + gate.lifetime)}
        return {"token": jwt.encode(claims, gate.secret, algorithm="HS256")}

    async def current_user(authorization: Annotated[str, Header()] = "") -> str:
        kind, _, text = authorization.partition(" ")
        try:
            claims = jwt.decode(text, gate.secret, algorithms=["HS256"], options={"verify_exp": False})
        except JWTError:
            raise HTTPException(401) from None
        if kind != "Bearer" or claims.get("exp", 0) <= gate.clock():
            raise HTTPException(401)
        return str(claims["sub"])

    async def limited_user(user: Annotated[str, Depends(current_user)]) -> str:
        minute = int(gate.clock() // 60)
        asked[user, minute] = asked.get((user, minute), 0) + 1
        if asked[user, minute] > gate.limit:
            wait = math.ceil((minute + 1) * 60 - gate.clock())
            raise HTTPException(429, headers={"Retry-After": str(wait)})
        return user

    @app.get("/ask")
    async def ask(question: str, user: Annotated[str, Depends(limited_user)]) -> dict[str, str]:
        expires, answer = cache.get((user, question), (0.0, ""))
        cached = expires > gate.clock()
        if not cached:
            answer = gate.answer(question)
            cache[user, question] = gate.clock() + gate.lifetime, answer
        gate.lines.append(json.dumps({"event": "asked", "user": user, "cached": cached}))
        return {"answer": answer}

    return app
