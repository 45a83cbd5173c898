"""The commands of the streaming protocol. An answer says in the protocol's own form what was done, or why not."""

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from project4_agent_api.core.postgres import Row, connected
from project4_agent_api.runs.schemas import CommandBody, ProtocolRun
from project4_agent_api.runs.service import Runs, ask_for
from project4_agent_api.streams.protocol.schemas import Command, InputRespond, RunStart
from shared.errors import Conflict, ServiceError

# What needs a connection that stays: over HTTP a subscription is a request for the stream.
_OF_A_CONNECTION = {
    "agent.getTree",
    "subscription.subscribe",
    "subscription.unsubscribe",
    "subscription.reconnect",
}
_SERVER_ERROR = 500

Params = TypeVar("Params", bound=BaseModel)


class RefusedCommand(Exception):
    """A command that is not obeyed.

    Attributes:
        code: One of the protocol's error codes.
        message: Why, for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Commands:
    """Obeys the commands to one thread.

    Attributes:
        runs: All runs.
        owner_id: Who commands.
        thread_id: Which thread.
        request_id: Of the request.
    """

    runs: Runs
    owner_id: UUID
    thread_id: UUID
    request_id: str | None

    async def obey(self, command: Command) -> dict[str, Any]:
        """Do what a command says, and return the answer.

        Raises:
            ServiceError: if something that it takes is away. What the client can do otherwise stands in the answer.
        """
        try:
            result = await self._do(command.method, command.params or {})
        except RefusedCommand as refused:
            return _error(command.id, refused.code, refused.message)
        except ServiceError as error:
            if error.status >= _SERVER_ERROR:
                raise
            return _error(command.id, "unknown_error", error.detail)
        # Nothing of the stream was read for it, so it can say of no event that it comes after it.
        return {"type": "success", "id": command.id, "result": result, "meta": {"applied_through_seq": 0}}

    async def _do(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "run.start":
            return await self._start(params)
        if method == "input.respond":
            return await self._respond(params)
        if method in _OF_A_CONNECTION:
            message = f"`{method}` needs a connection that stays. Subscribe with POST /threads/{{id}}/stream/events."
            raise RefusedCommand("not_supported", message)
        raise RefusedCommand("unknown_command", f"There is no command `{method}`.")

    async def _start(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start a run; where the graph waits for an answer, the input is the answer."""
        params, checkpoint_id = self._split(params)
        start = _read(RunStart, params)
        answers = start.input is not None and checkpoint_id is None and await self._asks()
        run = _read(
            ProtocolRun,
            {
                "assistant_id": start.assistant_id,
                "input": None if answers else start.input,
                "command": CommandBody(resume=start.input) if answers else None,
                "config": start.config,
                "metadata": start.metadata,
                "checkpoint_id": checkpoint_id,
                "multitask_strategy": start.multitask_strategy or start.multitaskStrategy,
                "if_not_exists": "create",
                "stream_subgraphs": True,
            },
        )
        return {"run_id": str(await self._run(run))}

    async def _respond(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start the run that goes on with answers."""
        params, checkpoint_id = self._split(params)
        respond = _read(InputRespond, params)
        thread = await self._thread()
        assistant_id = thread["metadata"].get("assistant_id") if thread else None
        asked = _asked(thread)
        for interrupt_id in respond.answers():
            if thread and interrupt_id not in asked:
                raise RefusedCommand("no_such_interrupt", f"No question `{interrupt_id}` waits for an answer.")
        if assistant_id is None:
            raise RefusedCommand("no_such_run", "No run of this thread waits for an answer.")
        run = _read(
            ProtocolRun,
            {
                "assistant_id": assistant_id,
                "command": CommandBody(resume=respond.answers(), update=respond.update, goto=respond.goto),
                "config": respond.config,
                "metadata": respond.metadata,
                "checkpoint_id": checkpoint_id,
                "strict_resume": respond.strict_resume,
                "multitask_strategy": "reject",
                "stream_subgraphs": True,
            },
        )
        try:
            await self._run(run)
        except Conflict:
            raise RefusedCommand("no_such_interrupt", "The question has been answered already.") from None
        return {}

    async def _run(self, run: ProtocolRun) -> UUID:
        asked = ask_for(run, self.owner_id, self.thread_id, self.request_id)
        await self.runs.create(asked)
        return asked.run_id

    async def _asks(self) -> bool:
        return bool(_asked(await self._thread()))

    async def _thread(self) -> Row | None:
        async with connected(self.runs.pool) as connection:
            cursor = await connection.execute(
                "SELECT status, interrupts, metadata FROM threads WHERE thread_id = %s AND owner_id = %s",
                [self.thread_id, self.owner_id],
            )
            return await cursor.fetchone()

    def _split(self, params: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Take out of the configuration what says where in which thread's history a run begins."""
        config = params.get("config")
        configurable = config.get("configurable") if isinstance(config, dict) else None
        if not isinstance(config, dict) or not isinstance(configurable, dict):
            return params, None
        rest = dict(configurable)
        checkpoint_id = rest.pop("checkpoint_id", None)
        if rest.get("thread_id") == str(self.thread_id):
            del rest["thread_id"]
        return params | {"config": config | {"configurable": rest}}, checkpoint_id


def _asked(thread: Row | None) -> set[str]:
    """Return the ids of the questions that wait for an answer. While a run goes on, none does."""
    if thread is None or thread["status"] != "interrupted":
        return set()
    return {one["id"] for asked in thread["interrupts"].values() for one in asked}


def _read(kind: type[Params], params: dict[str, Any]) -> Params:
    try:
        return kind.model_validate(params)
    except ValidationError as error:
        raise RefusedCommand("invalid_argument", said_of(error)) from None


def said_of(error: ValidationError) -> str:
    """Return what is wrong first, in words, and where."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _error(command_id: int, code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "id": command_id, "error": code, "message": message}
