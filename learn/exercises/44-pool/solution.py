"""A connection pool: a few connections that stay open, and are lent only while a statement needs one."""

from collections.abc import Callable

from sqlalchemy import Engine, create_engine, text


def size_for_each_process(max_connections: int, processes: int) -> int:
    """Return the largest pool with which all processes together leave 3 of the server's connections free.

    Raises:
        ValueError: There is less than one connection for each process.
    """
    size = (max_connections - 3) // processes
    if size < 1:
        raise ValueError(f"{max_connections} connections are too few for {processes} processes")
    return size


def make_engine(url: str, size: int) -> Engine:
    """Return an engine for one process."""
    return create_engine(url, pool_size=size, max_overflow=0, pool_timeout=0.2, pool_pre_ping=True)


def answer(engine: Engine, question_id: int, ask_model: Callable[[str], str]) -> None:
    """Read a question, ask the model, and store its answer."""
    with engine.connect() as connection:
        question = connection.scalar(text("SELECT question FROM questions WHERE id = :id"), {"id": question_id})
    reply = ask_model(question)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE questions SET answer = :answer WHERE id = :id"), {"id": question_id, "answer": reply}
        )
