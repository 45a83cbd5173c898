"""Who is asking, inside a graph."""

from uuid import UUID

from langchain_core.runnables import RunnableConfig


def owner_of(config: RunnableConfig) -> UUID:
    """Return whose run this is. The server puts it there, and takes out what a client put there."""
    return UUID(config["configurable"]["langgraph_auth_user_id"])
