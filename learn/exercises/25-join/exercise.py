"""Ask questions about two tables in SQL, without an ORM."""

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE messages (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), text TEXT NOT NULL);
"""

# TODO: name and text of each message, by the message's id
#       每条消息的作者姓名和正文，按消息 id 排序
MESSAGES_WITH_NAMES = """
SELECT name, text
FROM users, messages
"""

# TODO: name and number of messages of every user, also of users without messages, by name
#       每个用户的姓名和消息条数，没有消息的用户也要列出，按姓名排序
MESSAGES_PER_USER = """
SELECT name, 0
FROM users
"""

# TODO: the names of users with at least :minimum messages, by name
#       消息不少于 :minimum 条的用户姓名，按姓名排序
BUSY_USERS = """
SELECT name
FROM users
WHERE :minimum
"""
