"""A task that takes minutes: the request stores it, a worker claims it, and another takes over if that one dies."""

import sqlite3
from typing import Annotated, NamedTuple

from fastapi import Body, FastAPI, HTTPException

LEASE_SECONDS = 15
app = FastAPI()
db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)  # each statement commits
db.execute("""CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, question TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'pending',
    answer TEXT, attempt INTEGER NOT NULL DEFAULT 0, lease_until REAL)""")


class Claim(NamedTuple):
    id: int
    attempt: int  # counts the claims of a task, so it tells the claims of two workers apart
    question: str


def ask_agent(question: str) -> str:
    raise NotImplementedError("this would take two minutes, and no proxy waits that long")


# TODO: only store the task, and return 202 with its id and its status: {"id": 1, "status": "pending"}
#       只存下任务，返回 202 和任务的 id、status：{"id": 1, "status": "pending"}
@app.post("/tasks")
async def create_task(question: Annotated[str, Body(embed=True)]):
    return {"answer": ask_agent(question)}


@app.get("/tasks/{task_id}")
async def get_task(task_id: int):
    row = db.execute("SELECT status, answer FROM tasks WHERE id = ?", (task_id,)).fetchone()
    if row is None:
        raise HTTPException(404)
    return {"id": task_id, "status": row[0], "answer": row[1]}


def claim(now: float) -> Claim | None:
    """Claim the oldest task that is pending, or whose worker let the lease expire; None if there is none."""
    # TODO: two workers can both read the row before one of them updates it. Make it one UPDATE … RETURNING, which also
    #       takes running tasks whose lease has expired, sets the new lease and counts the attempt
    #       两个 worker 可能都在对方更新之前读到这一行。改成一条 UPDATE … RETURNING：租约过期的 running 任务也能抢占，
    #       同时写入新租约，attempt 加一
    row = db.execute("SELECT id, attempt, question FROM tasks WHERE status = 'pending' LIMIT 1").fetchone()
    if row:
        db.execute("UPDATE tasks SET status = 'running' WHERE id = ?", (row[0],))
    return Claim(*row) if row else None


def renew(claimed: Claim, now: float) -> bool:
    """Extend the lease; return False if the task belongs to another worker by now."""
    # TODO: one UPDATE that changes nothing if `attempt` is another one; its `rowcount` is the answer
    #       一条 UPDATE，attempt 变了就什么都不改；返回值看 rowcount
    raise NotImplementedError


def finish(claimed: Claim, answer: str) -> bool:
    """Store the answer and the status `done`; return False if the task belongs to another worker by now."""
    # TODO: the same condition
    #       条件相同
    raise NotImplementedError
