"""A plain FastAPI application: paths, queries and bodies from annotations."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
BOOKS = {1: "Dune", 2: "Emma", 3: "Ulysses"}


class Book(BaseModel):
    """A book to store."""

    title: str


@app.get("/books/{book_id}")
async def get_book(book_id):
    # TODO: The identifier is a whole number: say so. Return {"id": …, "title": …}.
    #       编号是整数：用注解写明。返回 {"id": …, "title": …}。
    return {}


# TODO: GET /books takes the query parameters `search` (a text, "" if it is missing) and `limit` (1 to 10, default 10), and
#       returns the list of the titles that contain `search`.
#       GET /books 接收查询参数 search（文本，缺省为 ""）和 limit（1 到 10，缺省 10），返回包含 search 的书名列表。

# TODO: POST /books takes a `Book`, stores it under the next number, and returns {"id": …, "title": …} with status 201.
#       POST /books 接收 Book，用下一个编号保存，以状态码 201 返回 {"id": …, "title": …}。
