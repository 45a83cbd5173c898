"""The operations of LangGraph's API, with the resource and the action by which a project's handlers are chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from project4_agent_api.core.visibility import Resource

Kind = Literal["plain", "copy", "run", "runs", "command", "cron", "store", "part"]


@dataclass(frozen=True)
class Operation:
    """An operation, as handlers see it.

    Attributes:
        resource: The resource, and below the action, by which handlers are chosen.
        fields: Fields of the body that handlers see and may change, besides the ids in the path.
        target: The resource of the object in the path; None for an operation on no single object.
    """

    resource: str
    action: str
    fields: tuple[str, ...] = ()
    target: Resource | None = None
    kind: Kind = "plain"


def _one(resource: Resource, action: str, *fields: str) -> Operation:
    return Operation(resource, action, fields, resource)


def _of_thread(action: str, *fields: str, kind: Kind = "plain") -> Operation:
    return Operation("threads", action, fields, "threads", kind)


_ASSISTANT = ("graph_id", "config", "context", "metadata", "name", "description")
_THREAD_SEARCH = ("metadata", "values", "status", "limit", "offset", "ids")
_CRON = ("schedule", "end_time", "metadata")
_RUN = _of_thread("create_run", kind="run")
_STATE = "/threads/{thread_id}/state"
_RUNS = "/threads/{thread_id}/runs"

OPERATIONS: Mapping[str, Operation] = {
    "POST /assistants": Operation("assistants", "create", (*_ASSISTANT, "assistant_id", "if_exists")),
    "POST /assistants/search": Operation("assistants", "search", ("graph_id", "metadata", "limit", "offset")),
    "POST /assistants/count": Operation("assistants", "search", ("graph_id", "metadata")),
    "GET /assistants/{assistant_id}": _one("assistants", "read"),
    "PATCH /assistants/{assistant_id}": _one("assistants", "update", *_ASSISTANT),
    "DELETE /assistants/{assistant_id}": _one("assistants", "delete"),
    "POST /assistants/{assistant_id}/versions": _one("assistants", "read"),
    "POST /assistants/{assistant_id}/latest": _one("assistants", "update", "version"),
    "GET /assistants/{assistant_id}/graph": _one("assistants", "read"),
    "GET /assistants/{assistant_id}/schemas": _one("assistants", "read"),
    "GET /assistants/{assistant_id}/subgraphs": _one("assistants", "read"),
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": _one("assistants", "read"),
    "POST /threads": Operation("threads", "create", ("metadata", "thread_id", "if_exists", "ttl")),
    "POST /threads/search": Operation("threads", "search", _THREAD_SEARCH),
    "POST /threads/count": Operation("threads", "search", ("metadata", "values", "status")),
    "POST /threads/prune": Operation("threads", "delete", ("thread_ids",)),
    "GET /threads/{thread_id}": _of_thread("read"),
    "PATCH /threads/{thread_id}": _of_thread("update", "metadata"),
    "DELETE /threads/{thread_id}": _of_thread("delete"),
    "POST /threads/{thread_id}/copy": _of_thread("read", kind="copy"),
    f"GET {_STATE}": _of_thread("read"),
    f"POST {_STATE}": _of_thread("update", "values", "as_node"),
    f"GET {_STATE}/{{checkpoint_id}}": _of_thread("read"),
    f"POST {_STATE}/checkpoint": _of_thread("read"),
    "GET /threads/{thread_id}/history": _of_thread("read"),
    "POST /threads/{thread_id}/history": _of_thread("read"),
    "GET /threads/{thread_id}/stream": _of_thread("read"),
    "POST /threads/{thread_id}/stream/events": _of_thread("read"),
    "POST /threads/{thread_id}/commands": _of_thread("read", kind="command"),
    f"POST {_RUNS}": _RUN,
    f"POST {_RUNS}/wait": _RUN,
    f"POST {_RUNS}/stream": _RUN,
    "POST /runs": _RUN,
    "POST /runs/wait": _RUN,
    "POST /runs/stream": _RUN,
    "POST /runs/batch": Operation("threads", "create_run", kind="runs"),
    "POST /runs/cancel": Operation("threads", "update", ("thread_id", "run_ids", "status")),
    f"GET {_RUNS}": _of_thread("search"),
    f"GET {_RUNS}/{{run_id}}": _of_thread("read"),
    f"DELETE {_RUNS}/{{run_id}}": _of_thread("delete"),
    f"GET {_RUNS}/{{run_id}}/join": _of_thread("read"),
    f"GET {_RUNS}/{{run_id}}/stream": _of_thread("read"),
    f"POST {_RUNS}/{{run_id}}/cancel": _of_thread("update"),
    "POST /runs/crons": Operation("crons", "create", _CRON, kind="cron"),
    f"POST {_RUNS}/crons": Operation("crons", "create", _CRON, "threads", "cron"),
    "POST /runs/crons/search": Operation(
        "crons", "search", ("assistant_id", "thread_id", "metadata", "limit", "offset")
    ),
    "POST /runs/crons/count": Operation("crons", "search", ("assistant_id", "thread_id", "metadata")),
    "GET /runs/crons/{cron_id}": _one("crons", "read"),
    "PATCH /runs/crons/{cron_id}": _one("crons", "update", *_CRON),
    "DELETE /runs/crons/{cron_id}": _one("crons", "delete"),
    "POST /feedback": _of_thread("update", kind="part"),
    "GET /feedback": _of_thread("search", kind="part"),
    "GET /feedback/{feedback_id}": _of_thread("read", kind="part"),
    "PATCH /feedback/{feedback_id}": _of_thread("update", kind="part"),
    "DELETE /feedback/{feedback_id}": _of_thread("update", kind="part"),
    "GET /runs": _of_thread("search", kind="part"),
    "GET /runs/{run_id}": _of_thread("read", kind="part"),
    "GET /runs/{run_id}/steps": _of_thread("read", kind="part"),
    "GET /runs/{run_id}/steps/{checkpoint_id}": _of_thread("read", kind="part"),
    "PUT /store/items": Operation("store", "put", ("namespace", "key", "value", "index", "ttl"), kind="store"),
    "GET /store/items": Operation("store", "get", ("namespace", "key"), kind="store"),
    "DELETE /store/items": Operation("store", "delete", ("namespace", "key"), kind="store"),
    "POST /store/items/search": Operation(
        "store", "search", ("namespace_prefix", "filter", "limit", "offset", "query"), kind="store"
    ),
    "POST /store/namespaces": Operation(
        "store", "list_namespaces", ("prefix", "suffix", "max_depth", "limit", "offset"), kind="store"
    ),
}
