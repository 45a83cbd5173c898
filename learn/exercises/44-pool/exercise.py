"""A connection pool: a few connections that stay open, and are lent only while a statement needs one."""

from collections.abc import Callable

from sqlalchemy import Engine, create_engine, text


def size_for_each_process(max_connections: int, processes: int) -> int:
    """Return the largest pool with which all processes together leave 3 of the server's connections free.

    Raises:
        ValueError: There is less than one connection for each process.
    """
    # TODO: one line of arithmetic, and the error
    #       一行算术，加上这个错误
    return max_connections


def make_engine(url: str, size: int) -> Engine:
    """Return an engine for one process."""
    # TODO: never more than `size` connections, however busy it is; a request waits 0.2 seconds for a free one; a
    #       connection that died in the pool is noticed before it is lent
    #       再忙也不超过 size 个连接；请求等空闲连接最多 0.2 秒；池里失效的连接要在借出之前发现
    return create_engine(url)


def answer(engine: Engine, question_id: int, ask_model: Callable[[str], str]) -> None:
    """Read a question, ask the model, and store its answer."""
    # TODO: this keeps a connection for as long as the model thinks; borrow one twice instead, for a moment each
    #       模型思考多久，连接就被占用多久；改成借两次，每次只用一会儿
    with engine.begin() as connection:
        question = connection.scalar(text("SELECT question FROM questions WHERE id = :id"), {"id": question_id})
        reply = ask_model(question)
        connection.execute(
            text("UPDATE questions SET answer = :answer WHERE id = :id"), {"id": question_id, "answer": reply}
        )
