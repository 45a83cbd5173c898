"""Small project of stage 2: an API for notes. One file, no database yet."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field


class NewNote(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=200)


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


async def get_notes(request: Request) -> Notes:
    notes: Notes = request.app.state.notes
    return notes


NotesDep = Annotated[Notes, Depends(get_notes)]


async def answer_not_found(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"error": "not found"}, status_code=404)


def create_app() -> FastAPI:
    """Return an application with notes of its own."""
    app = FastAPI()
    app.state.notes = Notes()
    app.add_exception_handler(NotFound, answer_not_found)

    @app.post("/notes", status_code=201)
    async def create(body: NewNote, notes: NotesDep, tasks: BackgroundTasks) -> Note:
        note = Note(id=max(notes.notes, default=0) + 1, text=body.text)
        notes.notes[note.id] = note
        tasks.add_task(notes.log.append, f"created {note.id}")
        return note

    @app.get("/notes/{note_id}")
    async def read(note_id: int, notes: NotesDep) -> Note:
        return notes.get(note_id)

    @app.delete("/notes/{note_id}", status_code=204)
    async def delete(note_id: int, notes: NotesDep) -> None:
        del notes.notes[notes.get(note_id).id]

    @app.get("/notes/{note_id}/words")
    async def words(note_id: int, notes: NotesDep) -> StreamingResponse:
        note = notes.get(note_id)  # before the response starts: afterwards no 404 is possible

        async def events() -> AsyncIterator[str]:
            for word in note.text.split():
                yield f"data: {word}\n\n"
            yield "event: done\ndata:\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app
