"""Small project of stage 5: what stands in front of an expensive answer: sign-in, limit, cache and log."""

import json  # noqa: F401  you need it
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated  # noqa: F401  you need it

from fastapi import FastAPI, Header, HTTPException  # noqa: F401  you need them
from jose import jwt  # noqa: F401  you need it

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

    # TODO: POST /token?user=…&password=…: {"token": …}, a JWT (HS256) with `sub` and `exp`; 401 for a wrong password
    #       POST /token?user=…&password=…：返回 {"token": …}，HS256 的 JWT，含 sub 和 exp；密码错返回 401
    # TODO: GET /ask?question=… with `Authorization: Bearer …`: {"answer": …}; 401 without a valid token (use gate.clock)
    #       GET /ask?question=…，带 Authorization: Bearer …：返回 {"answer": …}；令牌无效返回 401（时间用 gate.clock）
    # TODO: more than `limit` questions of one user in a minute: 429 with `Retry-After`, the seconds until the next minute
    #       同一用户一分钟内超过 limit 次：429，Retry-After 是到下一分钟的秒数
    # TODO: the same question of the same user within `lifetime` is not computed again
    #       同一用户的同一问题，在 lifetime 之内不重新计算
    # TODO: one line of JSON in `gate.lines` for each answer: {"event": "asked", "user": …, "cached": …}; no token, no question
    #       每次回答在 gate.lines 里写一行 JSON：{"event": "asked", "user": …, "cached": …}；不写令牌和问题
    return app
