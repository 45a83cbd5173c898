"""Ask questions about two tables in SQL, without an ORM."""

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE messages (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), text TEXT NOT NULL);
"""

MESSAGES_WITH_NAMES = """
SELECT users.name, messages.text
FROM messages
JOIN users ON users.id = messages.user_id
ORDER BY messages.id
"""

MESSAGES_PER_USER = """
SELECT users.name, count(messages.id)
FROM users
LEFT JOIN messages ON messages.user_id = users.id
GROUP BY users.id, users.name
ORDER BY users.name
"""

BUSY_USERS = """
SELECT users.name
FROM users
JOIN messages ON messages.user_id = users.id
GROUP BY users.id, users.name
HAVING count(*) >= :minimum
ORDER BY users.name
"""
