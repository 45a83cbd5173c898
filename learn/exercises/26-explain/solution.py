"""Read a query's plan, and add the index that makes it cheap."""

import sqlite3

SCHEMA = """
CREATE TABLE messages (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, created_at TEXT NOT NULL, text TEXT NOT NULL);
"""

LATEST = "SELECT id, text FROM messages WHERE user_id = :user_id ORDER BY created_at DESC LIMIT 20"

INDEX = "CREATE INDEX messages_of_user ON messages (user_id, created_at)"


def plan(database: sqlite3.Connection, query: str, parameters: dict[str, object]) -> list[str]:
    """Return the steps of a query's plan, such as `SCAN messages`."""
    return [str(row[-1]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]


def is_cheap(steps: list[str]) -> bool:
    """Tell whether a plan reads no whole table and sorts nothing."""
    return not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in steps)
