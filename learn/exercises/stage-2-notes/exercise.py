"""Small project of stage 2: an API for notes. One file, no database yet."""

from collections.abc import AsyncIterator  # noqa: F401  you need it
from typing import Annotated  # noqa: F401  you need it

from fastapi import BackgroundTasks, Depends, FastAPI, Request  # noqa: F401  you need them
from fastapi.responses import JSONResponse, StreamingResponse  # noqa: F401  you need them
from pydantic import BaseModel


class NewNote(BaseModel):
    # TODO: `text` of 1 to 200 characters; no other field is allowed
    #       text：1 到 200 个字符；不允许其他字段
    text: str


class Note(NewNote):
    id: int


class NotFound(Exception):
    """There is no such note."""


class Notes:
    """The notes of one application, in memory, and a log of its operations."""

    def __init__(self) -> None:
        self.notes: dict[int, Note] = {}
        self.log: list[str] = []

    def get(self, note_id: int) -> Note:
        if note_id not in self.notes:
            raise NotFound
        return self.notes[note_id]


def create_app() -> FastAPI:
    """Return an application with notes of its own."""
    app = FastAPI()
    app.state.notes = Notes()

    # TODO: a dependency returns `request.app.state.notes`; all routes take the notes from it
    #       用一个依赖返回 request.app.state.notes，所有路由都从它取得
    # TODO: POST /notes: 201 and the stored note, ids from 1; after the response, "created 1" is added to the log
    #       POST /notes：返回 201 和存好的笔记，id 从 1 开始；响应之后把 "created 1" 写进 log
    # TODO: GET /notes/{note_id}, and DELETE with 204; a missing one is 404 {"error": "not found"} by an exception handler
    #       GET /notes/{note_id}；DELETE 返回 204；不存在时由异常处理器返回 404 {"error": "not found"}
    # TODO: GET /notes/{note_id}/words: server-sent events, `data: WORD` for each word, then `event: done`
    #       GET /notes/{note_id}/words：SSE，每个单词一个 data: WORD，最后是 event: done
    return app
