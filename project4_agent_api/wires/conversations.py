"""The service as every wire uses it, for one authenticated request: find assistants, start runs, follow them.

A wire authenticates with `accounts.guards`: as a router behind `Authenticated`, or with `authenticate`. A run is stored
by `Runs.create` and followed by `RunSubscription`, as on LangGraph's paths, so the same limits, usage, logs and traces
apply. The operations of a wire are authorized by the handlers of a project, as those of LangGraph's API that do the
same.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection

from project4_agent_api.accounts.authorization import authorization_of
from project4_agent_api.accounts.authorized_operations import OPERATIONS
from project4_agent_api.accounts.principals import Principal
from project4_agent_api.assistants.schemas import AssistantSearch
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.bounded import encode_object
from project4_agent_api.core.idempotency import current_claim
from project4_agent_api.core.postgres import Row, fetch_one
from project4_agent_api.core.run_context import set_user
from project4_agent_api.core.schemas import Checkpoint
from project4_agent_api.core.state import find
from project4_agent_api.core.visibility import set_accesses
from project4_agent_api.events.ids import run_stream
from project4_agent_api.events.sse import has_expired
from project4_agent_api.models import Assistant, RunStatus
from project4_agent_api.runs.request import RunRequest
from project4_agent_api.runs.schemas import RunCreate, StatelessRunCreate
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.runs.subscription import RunSubscription, join_run, start_run
from project4_agent_api.threads.schemas import ThreadCreate
from project4_agent_api.threads.service import Threads
from project4_agent_api.wires.items import Interrupt, Item, read_items
from shared.database.engine import Sessions, read_session
from shared.errors import InvalidRequest, NotFound

STREAM_MODE = ("messages-tuple", "values")
_MAX_ASSISTANTS = 1000
_CHECKPOINTS_OF_RUN = """
    SELECT (array_agg(parent_checkpoint_id ORDER BY checkpoint_id))[1] AS before, max(checkpoint_id) AS last
    FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = '' AND metadata ->> 'run_id' = %s
"""

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Run:
    """A run that a wire follows."""

    key: RunKey
    subscription: RunSubscription

    async def items(self) -> AsyncGenerator[Item]:
        """Yield the run's items, with `Ended` as the last one.

        Close the generator when the client disconnects: the run is then stopped, if it was started with
        `on_disconnect="cancel"`.
        """
        async with aclosing(self.subscription.attended()) as events, aclosing(read_items(events)) as items:
            async for item in items:
                yield item


@dataclass(frozen=True)
class Conversations:
    """The assistants, threads and runs that the user of a request may use.

    Attributes:
        connection: Authenticated; see `of`.
    """

    connection: HTTPConnection
    runs: Runs
    threads: Threads
    assistants: Assistants
    sessions: Sessions

    @classmethod
    def from_request(cls, connection: HTTPConnection) -> "Conversations":
        """Return the conversations of a request that `accounts.guards` has authenticated."""
        app = connection.scope["app"]
        return cls(connection, find(app, Runs), find(app, Threads), find(app, Assistants), find(app, Sessions))

    async def list_assistants(self, name: str | None = None) -> Sequence[Assistant]:
        """Return the assistants that the user may use: the built-in ones first, then their own, oldest first.

        Args:
            name: Only those with exactly this name.
        """
        owner_id = await self.authorize("POST /assistants/search")
        await self.assistants.ensure_built_in(self.sessions)
        search = AssistantSearch(name=name, limit=_MAX_ASSISTANTS, sort_by="created_at", sort_order="asc")
        async with read_session(self.connection.scope["app"].state.reading) as session:
            found = await self.assistants.search(session, owner_id, search)
        exact = [assistant for assistant in found if name in (None, assistant.name)]
        return sorted(exact, key=lambda assistant: assistant.owner_id is not None)

    async def resolve_assistant(self, name: str) -> UUID:
        """Return the id of an assistant, given its id, the name of its graph if it is built in, or its own name.

        An id is returned as it is: `start` finds out whether it exists.

        Raises:
            NotFound: if no assistant has the name, or several have.
        """
        with suppress(InvalidRequest):
            return self.assistants.parse_id(name)
        try:
            found = await self.list_assistants(name)
        except ValidationError:  # no assistant can have such a name
            found = ()
        if len(found) == 1:
            return found[0].assistant_id
        if not found:
            raise NotFound("There is no assistant with this id or name.")
        ids = ", ".join(str(assistant.assistant_id) for assistant in found)
        raise NotFound(f"Several assistants have this name. Give the id of one: {ids}.")

    async def get_assistant(self, assistant_id: UUID) -> Assistant:
        """Return an assistant.

        Raises:
            NotFound: if it does not exist, or belongs to another user.
        """
        owner_id = await self.authorize("GET /assistants/{assistant_id}", ids={"assistant_id": assistant_id})
        await self.assistants.ensure_built_in(self.sessions)
        async with read_session(self.connection.scope["app"].state.reading) as session:
            return await self.assistants.get(session, owner_id, assistant_id)

    async def create_thread(self, metadata: Mapping[str, Any], thread_id: UUID | None = None) -> UUID:
        """Create a thread, or with an id of the client use the existing one.

        Raises:
            Conflict: if the id is taken by another user.
            StorageQuotaExceeded: if the user stores too much.
        """
        body: dict[str, Any] = {"metadata": dict(metadata)}
        await self.authorize("POST /threads", body)
        create = _validate(ThreadCreate, body | {"if_exists": "do_nothing"})
        create.thread_id = thread_id
        created: UUID = (await self.threads.create(self.account_id, create))["thread_id"]
        return created

    async def get_thread(self, thread_id: UUID) -> Row:
        """Return a thread with encoded JSON.

        Raises:
            NotFound: if it does not exist, or belongs to another user.
        """
        owner_id = await self.authorize("GET /threads/{thread_id}", ids={"thread_id": thread_id})
        return await self.threads.get(owner_id, thread_id)

    async def open_interrupts(self, thread_id: UUID) -> list[Interrupt]:
        """Return the questions of a thread that wait for an answer.

        Raises:
            NotFound: if there is no such thread.
        """
        thread = await self.get_thread(thread_id)
        of_tasks = thread["interrupts"].decode_json().values()
        return [Interrupt(interrupt["id"], interrupt["value"]) for of_task in of_tasks for interrupt in of_task]

    @asynccontextmanager
    async def start(self, body: Mapping[str, Any], thread_id: UUID | None = None) -> AsyncIterator[Run]:
        """Store a run, and follow it while the block runs.

        Args:
            body: The fields of `RunCreate`, as a client of LangGraph's API sends them.
            thread_id: None for a thread of its own, which is deleted after the run.

        Raises:
            NotFound: if there is no such assistant or thread; with `"if_not_exists": "create"` the thread is created.
            RequestValidationError: if the body is invalid.
            Conflict, QueueFull, TooManyRequests, StorageQuotaExceeded: see `Runs.create`.
        """
        given = {"stream_mode": list(STREAM_MODE), **body}
        principal: Principal = self.connection.state.principal
        set_user(principal.user, principal.account_id)  # this may be another task than the request's
        owner_id = principal.account_id
        if authorization := authorization_of(self.connection):
            owner_id = await authorization.run(given, {"thread_id": thread_id} if thread_id else {})
            set_accesses(authorization.accesses)
        create = _validate(RunCreate if thread_id else StatelessRunCreate, given)
        request_id, claim = self.connection.scope.get("request_id"), current_claim(self.connection)
        request = RunRequest.new(create, owner_id, thread_id, request_id, claim)
        async with start_run(self.runs, request, run_stream, partial(has_expired, self.connection)) as subscription:
            yield Run(request.key, subscription)

    @asynccontextmanager
    async def join(self, thread_id: UUID, run_id: UUID) -> AsyncIterator[Run]:
        """Follow an existing run of any client while the block runs, from its first event.

        Raises:
            NotFound: if there is none.
        """
        operation = "GET /threads/{thread_id}/runs/{run_id}/stream"
        owner_id = await self.authorize(operation, ids={"thread_id": thread_id, "run_id": run_id})
        key = RunKey(owner_id, thread_id, run_id)
        async with join_run(self.runs, key, run_stream, partial(has_expired, self.connection)) as subscription:
            yield Run(key, subscription)

    async def find_run(self, run_id: UUID) -> RunKey:
        """Return the key of a run that the user may see, given only its id.

        Raises:
            NotFound: if there is none.
        """
        row = await fetch_one(self.runs.pool, "SELECT thread_id FROM runs WHERE run_id = %s", [run_id])
        ids = {"thread_id": row["thread_id"] if row else run_id, "run_id": run_id}
        owner_id = await self.authorize("GET /threads/{thread_id}/runs/{run_id}", ids=ids)
        key = RunKey(owner_id, **ids)
        await self.runs.get(key)
        return key

    async def unfinished_run(self, thread_id: UUID) -> Row | None:
        """Return the run that is executed on a thread, or the newest one that waits; None if there is neither.

        Raises:
            NotFound: if there is no such thread.
        """
        owner_id = await self.authorize("GET /threads/{thread_id}/runs", ids={"thread_id": thread_id})
        for status in (RunStatus.RUNNING, RunStatus.PENDING):
            for run in await self.runs.list(owner_id, thread_id, limit=1, offset=0, status=status):
                return run
        return None

    async def checkpoints_of_run(self, key: RunKey) -> tuple[str | None, str | None]:
        """Return the id of the checkpoint before a run, and of the last one that it has made. Each may be None.

        Args:
            key: Key of a run of the caller; it is not checked.
        """
        row = await fetch_one(self.runs.pool, _CHECKPOINTS_OF_RUN, [str(key.thread_id), str(key.run_id)])
        return (row["before"], row["last"]) if row else (None, None)

    async def state_at(self, key: RunKey, checkpoint_id: str) -> dict[str, Any]:
        """Return the state of a run's thread at a checkpoint, in the form of LangGraph's API, as JSON.

        Raises:
            NotFound: if the thread or its graph does not exist.
            Conflict: if the graph cannot read the state.
        """
        state = await self.threads.states.get(key.owner_id, key.thread_id, Checkpoint(checkpoint_id=checkpoint_id))
        decoded: dict[str, Any] = orjson.loads(await encode_object(state))
        return decoded

    async def stop(self, thread_id: UUID, run_id: UUID) -> None:
        """Stop a run, and keep its checkpoints.

        Raises:
            NotFound: if there is no such unfinished run.
        """
        operation = "POST /threads/{thread_id}/runs/{run_id}/cancel"
        owner_id = await self.authorize(operation, ids={"thread_id": thread_id, "run_id": run_id})
        await self.runs.stop(owner_id, thread_id, [run_id], "interrupt")

    @property
    def account_id(self) -> UUID:
        """The user's account, which owns what the user creates."""
        principal: Principal = self.connection.state.principal
        return principal.account_id

    async def authorize(
        self, operation: str, body: dict[str, Any] | None = None, ids: Mapping[str, UUID] | None = None
    ) -> UUID:
        """Authorize an operation of LangGraph's API, and return the owner for whom it is executed."""
        authorization = authorization_of(self.connection)
        if authorization is None:
            return self.account_id
        owner_id = await authorization.plain(OPERATIONS[operation], body, ids or {})
        set_accesses(authorization.accesses)
        return owner_id


def _validate(model: type[Body], body: Mapping[str, Any]) -> Body:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


async def conversations(request: Request) -> Conversations:
    """Return the conversations of a request to a router behind `Authenticated`."""
    return Conversations.from_request(request)


ConversationsDep = Annotated[Conversations, Depends(conversations)]
