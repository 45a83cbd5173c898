"""Values that a request adds to the configuration of the runs that it creates: its user, and some of its headers."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from project4_agent_api.core.project_user import ProjectUser

_user: ContextVar[tuple[ProjectUser, UUID] | None] = ContextVar("user", default=None)
_headers: ContextVar[Mapping[str, str]] = ContextVar("headers")


def set_user(user: ProjectUser | None, owner_id: UUID) -> None:
    """Set the user of the current request or cron, and the owner of what the user creates."""
    _user.set((user, owner_id) if user else None)


def set_headers(headers: Mapping[str, str]) -> None:
    """Set the headers of the current request that graphs may read."""
    _headers.set(headers)


def current_user() -> dict[str, Any] | None:
    """Return the user of the current request, as JSON."""
    current = _user.get()
    return current[0].to_json() if current else None


def run_configurable() -> dict[str, Any]:
    """Return the values that the current request adds to the `configurable` of its runs.

    LangGraph reads `langgraph_auth_user` for `runtime.server_info.user`. The owner's id is for this service's graphs.
    """
    configurable: dict[str, Any] = dict(_headers.get({}))
    if current := _user.get():
        user, owner_id = current
        configurable |= {
            "langgraph_auth_user": user.to_json(),
            "langgraph_auth_user_id": user.identity,
            "langgraph_auth_owner_id": str(owner_id),
            "langgraph_auth_permissions": user.permissions,
        }
    return configurable
