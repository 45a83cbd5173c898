"""A plain FastAPI application: paths, queries and bodies from annotations."""

from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import BaseModel

app = FastAPI()
BOOKS = {1: "Dune", 2: "Emma", 3: "Ulysses"}


class Book(BaseModel):
    """A book to store."""

    title: str


@app.get("/books/{book_id}")
async def get_book(book_id: int) -> dict[str, int | str]:
    return {"id": book_id, "title": BOOKS[book_id]}


@app.get("/books")
async def list_books(search: str = "", limit: Annotated[int, Query(ge=1, le=10)] = 10) -> list[str]:
    return [title for title in BOOKS.values() if search in title][:limit]


@app.post("/books", status_code=201)
async def create_book(book: Book) -> dict[str, int | str]:
    book_id = max(BOOKS) + 1
    BOOKS[book_id] = book.title
    return {"id": book_id, "title": book.title}
