"""A task that takes minutes: the request stores it, a worker claims it, and another takes over if that one dies."""

import sqlite3
from typing import Annotated, Any, NamedTuple

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


@app.post("/tasks", status_code=202)
async def create_task(question: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
    row = db.execute("INSERT INTO tasks (question) VALUES (?) RETURNING id, status", (question,)).fetchone()
    return {"id": row[0], "status": row[1]}


@app.get("/tasks/{task_id}")
async def get_task(task_id: int) -> dict[str, Any]:
    row = db.execute("SELECT status, answer FROM tasks WHERE id = ?", (task_id,)).fetchone()
    if row is None:
        raise HTTPException(404)
    return {"id": task_id, "status": row[0], "answer": row[1]}


def claim(now: float) -> Claim | None:
    """Claim the oldest task that is pending, or whose worker let the lease expire; None if there is none."""
    row = db.execute(
        """UPDATE tasks SET status = 'running', attempt = attempt + 1, lease_until = :until
        WHERE id = (
            SELECT id FROM tasks WHERE status = 'pending' OR status = 'running' AND lease_until < :now
            ORDER BY id LIMIT 1
        ) RETURNING id, attempt, question""",
        {"now": now, "until": now + LEASE_SECONDS},
    ).fetchone()
    return Claim(*row) if row else None


def renew(claimed: Claim, now: float) -> bool:
    """Extend the lease; return False if the task belongs to another worker by now."""
    updated = db.execute(
        "UPDATE tasks SET lease_until = ? WHERE id = ? AND attempt = ? AND status = 'running'",
        (now + LEASE_SECONDS, claimed.id, claimed.attempt),
    )
    return updated.rowcount == 1


def finish(claimed: Claim, answer: str) -> bool:
    """Store the answer and the status `done`; return False if the task belongs to another worker by now."""
    updated = db.execute(
        "UPDATE tasks SET status = 'done', answer = ? WHERE id = ? AND attempt = ? AND status = 'running'",
        (answer, claimed.id, claimed.attempt),
    )
    return updated.rowcount == 1
