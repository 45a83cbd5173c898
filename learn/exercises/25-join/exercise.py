"""Ask questions about two tables in SQL, without an ORM."""

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE messages (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), text TEXT NOT NULL);
"""

# TODO: name and text of each message, by the message's id
MESSAGES_WITH_NAMES = """
SELECT name, text
FROM users, messages
"""

# TODO: name and number of messages of every user, also of users without messages, by name
MESSAGES_PER_USER = """
SELECT name, 0
FROM users
"""

# TODO: the names of users with at least :minimum messages, by name
BUSY_USERS = """
SELECT name
FROM users
WHERE :minimum
"""
