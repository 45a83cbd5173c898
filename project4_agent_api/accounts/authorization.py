"""Authorization by a project: call its `@auth.on` handlers for each operation, and apply their filters.

A filter applies to the rows of all users of the project, so an object may be shared. An operation on one object is
executed for the object's owner after the filter was checked; if the filter rejects it, for nobody, so that the response
is that of an unknown id. Searches use the filter itself (`core/visibility.py`). An operation without a handler is
restricted to the user's own rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request
from starlette.requests import HTTPConnection
from uuid_utils.compat import uuid7

from project4_agent_api.accounts.authenticator import Authenticator
from project4_agent_api.accounts.authorized_operations import OPERATIONS, Operation
from project4_agent_api.accounts.principals import Principal
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.postgres import Pool, fetch_one
from project4_agent_api.core.state import find
from project4_agent_api.core.visibility import Access, Resource, set_accesses
from shared.errors import InvalidRequest, UnreadableBody

_NOBODY = UUID(int=0)
_KEYS: Mapping[Resource, str] = {"assistants": "assistant_id", "threads": "thread_id", "crons": "cron_id"}
_AUTHORIZED = ("/assistants", "/threads", "/runs", "/store", "/feedback")
_THREAD_OF_RUN = "SELECT thread_id FROM runs WHERE run_id = %s"
_THREAD_OF_FEEDBACK = "SELECT thread_id FROM run_feedback WHERE id = %s"
_RUN_KWARGS = ("input", "command", "config", "context", "stream_mode", "interrupt_before", "interrupt_after", "webhook")
_RUN_FIELDS = ("metadata", "multitask_strategy", "if_not_exists", "after_seconds")


async def authorize(request: Request) -> None:
    """Authorize a request by the project's handlers, if the project has any.

    Raises:
        Forbidden, HTTPException: if a handler refuses the operation.
    """
    authorization = authorization_of(request)
    if authorization is None:
        return
    path: str = request.scope["route"].path
    operation = OPERATIONS.get(f"{request.method} {path}")
    if operation is None:
        if path.startswith(_AUTHORIZED):
            raise RuntimeError(f"no handler can authorize {request.method} {path}")
        return
    request.state.owner_id = await authorization.apply(operation, request)
    set_accesses(authorization.accesses)


def authorization_of(connection: HTTPConnection) -> "Authorization | None":
    """Return the authorization of an authenticated request; None if the project has no handlers."""
    app = connection.scope["app"]
    authenticator = find(app, Authenticator)
    if authenticator.project_auth is None:
        return None
    principal: Principal = connection.state.principal
    return Authorization(authenticator.project_auth, principal, authenticator.pool, find(app, Assistants))


@dataclass
class Authorization:
    """The authorization of one request.

    Attributes:
        accesses: The rows that the request may use, by resource. By default, the user's own.
    """

    auth: ProjectAuth
    principal: Principal
    pool: Pool
    assistants: Assistants
    accesses: dict[str, Access] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Restrict each resource to the user's own rows."""
        self.accesses = dict.fromkeys(_KEYS, Access(self.principal.account_id))

    async def apply(self, operation: Operation, request: Request) -> UUID:
        """Call the handlers of an operation, write their changes to the request, and return its owner."""
        ids = {name: _uuid(value) for name, value in request.path_params.items()}
        if operation.kind == "store":
            await self._store(operation, request)
            return self.principal.account_id
        body = await _body(request)
        match operation.kind:
            case "run":
                owner = self.run(body, ids)
            case "runs":
                for entry in body if isinstance(body, list) else []:
                    await self.run(entry, {})
                return self.principal.account_id
            case "command":
                owner_id = await self._command(body, ids)
                request._body = json.dumps(body).encode()  # noqa: SLF001  which the route parses
                return owner_id
            case "cron":
                owner = self._cron(operation, body, ids)
            case "part":
                run_id = ids.get("run_id") or (body.get("run_id") if isinstance(body, dict) else None)
                owner = self._part(operation, ids, _uuid(run_id or request.query_params.get("run")))
            case _:
                owner = self.plain(operation, body, ids)
        return await owner

    async def run(self, body: Any, ids: Mapping[str, Any]) -> UUID:  # noqa: ANN401  any JSON
        """Authorize a new run, and return its owner: that of its thread if it exists."""
        given = body if isinstance(body, dict) else {}
        kwargs = {name: given.get(name) for name in _RUN_KWARGS}
        kwargs["config"] = kwargs["config"] if isinstance(kwargs["config"], dict) else {}
        value = _value(given, _RUN_FIELDS) | {
            "assistant_id": self._assistant_id(given),
            "thread_id": ids.get("thread_id"),
            "run_id": None,
            "status": "pending",
            "prevent_insert_if_inflight": given.get("multitask_strategy") == "reject",
            "kwargs": kwargs,
        }
        access = await self._call("threads", "create_run", value)
        _write_back(given, value, _RUN_FIELDS)
        _write_back(given, value["kwargs"], _RUN_KWARGS)
        await self._require_assistant(given)
        return await self._owner("threads", access, value["thread_id"])

    async def plain(self, operation: Operation, body: Any, ids: Mapping[str, Any]) -> UUID:  # noqa: ANN401  any JSON
        """Authorize an operation on at most one object, and return its owner."""
        given = body if isinstance(body, dict) else {}
        value = _value(given, operation.fields) | dict(ids)
        access = await self._call(operation.resource, operation.action, value)
        _write_back(given, value, operation.fields)
        if operation.kind == "copy":  # the handler may refuse; the copy has the metadata of the original
            await self._call("threads", "create", {"thread_id": uuid7(), "metadata": {}})
        if operation.action == "delete" and operation.resource == "assistants":  # it may delete threads too
            await self._call("threads", "delete", {})
        resource = operation.target or operation.resource
        key = _KEYS[resource]  # type: ignore[index]  # a resource with rows
        in_body = given.get(key) if key in operation.fields else None  # not any field of the client
        return await self._owner(resource, access, _uuid(ids.get(key) or in_body))

    async def _command(self, body: Any, ids: Mapping[str, Any]) -> UUID:  # noqa: ANN401  any JSON
        """Authorize a command of the streaming protocol."""
        given = body if isinstance(body, dict) else {}
        if given.get("method") in ("run.start", "input.respond"):
            if not isinstance(given.get("params"), dict):
                given["params"] = {}
            return await self.run(given["params"], ids)
        return await self._owner("threads", await self._call("threads", "read", dict(ids)), ids.get("thread_id"))

    async def _cron(self, operation: Operation, body: Any, ids: Mapping[str, Any]) -> UUID:  # noqa: ANN401  any JSON
        given = body if isinstance(body, dict) else {}
        user_id = self.principal.project_user.identity if self.principal.project_user else None
        value = _value(given, operation.fields) | {"payload": given, "user_id": user_id, "cron_id": None} | dict(ids)
        await self._call("crons", "create", value)
        _write_back(given, value, operation.fields)
        await self._require_assistant(given)
        if operation.target is None:
            return self.principal.account_id
        access = await self._call("threads", "read", dict(ids))
        return await self._owner("threads", access, ids.get("thread_id"))

    async def _part(self, operation: Operation, ids: Mapping[str, Any], run_id: object) -> UUID:
        """Authorize an operation on a part of a run like one on the run's thread. A list is of the user's own."""
        feedback_id = ids.get("feedback_id")
        statement, row_id = (_THREAD_OF_FEEDBACK, feedback_id) if feedback_id else (_THREAD_OF_RUN, run_id)
        row = None
        if operation.action != "search" and isinstance(row_id, UUID):
            row = await fetch_one(self.pool, statement, [row_id])
        thread_id = row["thread_id"] if row else None
        access = await self._call("threads", operation.action, {"thread_id": thread_id, "run_id": run_id, **ids})
        return await self._owner("threads", access, thread_id)

    async def _store(self, operation: Operation, request: Request) -> None:
        """Call a handler of the store, which may change the namespace."""
        given = dict(request.query_params) if request.method == "GET" else await _body(request)
        if not isinstance(given, dict):
            return
        name = next(name for name in operation.fields if name in ("namespace", "namespace_prefix", "prefix"))
        labels = given.get(name) or ()
        value = _value(given, operation.fields)
        value.pop(name, None)
        value["namespace"] = tuple(labels.split(".") if isinstance(labels, str) else labels)
        value.pop("metadata", None)
        before = value["namespace"]
        filter_ = await self.auth.authorize(self.principal, "store", operation.action, value)
        others = [field for field in operation.fields if field != name]
        _write_back(given, value, others)
        changed = tuple(value["namespace"] or ())
        if changed != before:
            if any(not isinstance(label, str) or "." in label for label in changed):
                raise InvalidRequest("The namespace contains a label with a period.")
            given[name] = list(changed)
        if filter_ and operation.action == "search" and self.auth.covers("store", "search"):
            given["filter"] = (given.get("filter") or {}) | dict(filter_)
        if request.method == "GET":
            namespace = given["namespace"] if isinstance(given["namespace"], str) else ".".join(given["namespace"])
            request.scope["query_string"] = urlencode(given | {"namespace": namespace}).encode()
            vars(request).pop("_query_params", None)  # Starlette's cache

    async def _call(self, resource: str, action: str, value: dict[str, Any]) -> Access:
        """Call a handler, and store the access that it grants."""
        filter_ = await self.auth.authorize(self.principal, resource, action, value)
        if filter_ is not None:
            self.accesses[resource] = Access(None, filter_)
        return self.accesses[resource]

    async def _require_assistant(self, body: Mapping[str, Any]) -> None:
        """Call the handler for reading the assistant of a run, unless it is built in."""
        assistant_id = self._assistant_id(body)
        if assistant_id is not None and assistant_id not in self.assistants.built_in:
            await self._call("assistants", "read", {"assistant_id": assistant_id})

    def _assistant_id(self, body: Mapping[str, Any]) -> UUID | None:
        try:
            return self.assistants.parse_id(str(body.get("assistant_id")))
        except InvalidRequest:  # which the route reports
            return None

    async def _owner(self, resource: str, access: Access, row_id: object) -> UUID:
        """Return the owner for whom an operation on a row is executed: its own if it is visible, otherwise nobody.

        The owner of a row that does not exist, or is built in, is the user.
        """
        if not isinstance(row_id, UUID):
            return self.principal.account_id
        condition, parameters = access.sql(resource)  # type: ignore[arg-type]  # a resource with rows
        statement = f"SELECT owner_id, ({condition}) AS visible FROM {resource} WHERE {_KEYS[resource]} = %(row_id)s"  # type: ignore[index]  # noqa: S608  no value in it
        row = await fetch_one(self.pool, statement, parameters | {"row_id": row_id})
        if row is None or row["owner_id"] is None:
            return self.principal.account_id
        owner_id: UUID = row["owner_id"]
        return owner_id if row["visible"] else _NOBODY


def _uuid(value: object) -> object:
    try:
        return UUID(str(value)) if value is not None else None
    except ValueError:
        return value


def _value(given: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that a handler sees. Metadata are an object, so that a handler can add to them."""
    value = {name: given[name] for name in fields if name in given}
    for name in ("thread_id", "assistant_id"):
        if name in value:
            value[name] = _uuid(value[name])
    if "metadata" in fields and not isinstance(value.get("metadata"), dict):
        value["metadata"] = {}
    return value


def _write_back(given: dict[str, Any], value: Mapping[str, Any], fields: "tuple[str, ...] | list[str]") -> None:
    """Write a handler's changes to the body."""
    for name in fields:
        new = value.get(name)
        if new in (None, {}) or (isinstance(new, UUID) and str(new) == given.get(name)):
            continue
        if name == "metadata" and given.get(name) is not None and not isinstance(given[name], dict):
            continue  # the route refuses it
        given[name] = str(new) if isinstance(new, UUID) else new


async def _body(request: Request) -> Any:  # noqa: ANN401  any JSON
    """Return the parsed body, which is the object that FastAPI validates.

    Raises:
        UnreadableBody: if it is not JSON.
    """
    if not await request.body():
        return None
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise UnreadableBody("The body is not JSON.") from None
